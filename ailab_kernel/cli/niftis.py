"""Volumes to NIfTI files: named by a pattern without patient data, a JSON sidecar beside each."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import AilabError, DicomError, WrongUse

if TYPE_CHECKING:
    from ailab_kernel.volumes.series import Found
    from ailab_kernel.volumes.volume import Volume

ENDINGS = (".nii", ".nii.gz")
NAME = "{modality}-{number}-{digest}.nii.gz"


@dataclass(frozen=True)
class Options:
    """What is converted and how: into a file or by a name pattern into a folder, and with what beside it.

    ``corrections`` are the keywords of `volumes_from_folder`.
    """

    out: Path
    name: str = NAME
    sidecar: bool = True
    identifying: bool = False
    series: str = ""
    corrections: Mapping[str, bool] = field(default_factory=dict)


@dataclass
class Outcome:
    """What was written, by Series Instance UID, and what was refused and why."""

    written: list[dict[str, object]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)


def check_name(name: str) -> None:
    """Raise WrongUse unless the pattern names every series differently."""
    told = {"modality": "", "number": "", "uid": "", "digest": ""}
    try:
        plain = name.format(**told)
    except (KeyError, ValueError, IndexError):
        plain = "/"
    if "/" in plain or not name.endswith(ENDINGS) or not re.search(r"\{(uid|digest)\}", name):
        msg = (f"--name {name!r}: words in braces from {', '.join(told)}, {{digest}} or {{uid}} among them, and "
               ".nii or .nii.gz at the end are expected")  # fmt: skip
        raise WrongUse(msg)


def write_all(found: "Found", options: Options, done: Outcome) -> None:
    """Write every volume of ``found`` by the name pattern, and note what was refused."""
    note_refused(done, found, options.series)
    names: dict[str, int] = {}
    for vol in found.volumes:
        if options.series in ("", vol.series_uid):
            plain = named(vol, options.name)
            names[plain] = count = names.get(plain, 0) + 1
            stem, dot, ending = plain.rpartition(".nii")
            write_one(vol, options.out / (plain if count == 1 else f"{stem}-{count}{dot}{ending}"), options, done=done)


def note_refused(done: Outcome, found: "Found", series: str) -> None:
    """Note what was set aside, of ``series`` alone unless it is empty."""
    done.refused += [{"what": one.what, "reason": one.reason} for one in found.refused
                     if not series or uid_of(one.what) == series]  # fmt: skip


def uid_of(what: str) -> str:
    """Series Instance UID of what was refused; empty where it is a file or an instance."""
    return what.removeprefix("series ").partition(",")[0] if what.startswith("series ") else ""


def named(vol: "Volume", pattern: str) -> str:
    """File name of a volume, from what tells no patient: modality, series number, UID, its digest, and which part."""
    from ailab_kernel.ground.ids import sha256

    modality = re.sub(r"[^A-Z0-9]", "", vol.facts.get("Modality", "")) or "OT"
    name = pattern.format(modality=modality, number=_number(vol), uid=re.sub(r"[^0-9.]", "", vol.series_uid),
                          digest=sha256(vol.series_uid.encode())[:8])  # fmt: skip
    part = "".join(f"-{word}" for word in re.findall(r"[A-Za-z0-9.]+", vol.facts.get("part", "")))
    stem, dot, ending = name.rpartition(".nii")
    return f"{stem}{part}{dot}{ending}"


def _number(vol: "Volume") -> int:
    """Series Number (0020,0011), 0 where there is none."""
    try:
        return int(vol.headers[0].get("SeriesNumber") or 0) if vol.headers else 0
    except (DicomError, ValueError, TypeError):
        return 0


def write_one(vol: "Volume", path: Path, options: Options, *, done: Outcome) -> None:
    """Write one volume and its sidecar, and note what became of it."""
    from ailab_kernel.volumes.nifti import volume_to_nifti

    try:
        volume_to_nifti(vol, path, durable=False)  # it can be made again from its series
        if options.sidecar:
            _write_sidecar(vol, path, identifying=options.identifying)
    except AilabError as error:
        done.refused.append({"what": f"series {vol.series_uid}", "reason": str(error)})
        return
    done.written.append({"file": str(path), "series": vol.series_uid, "slices": vol.array.shape[0]})


def _write_sidecar(vol: "Volume", path: Path, *, identifying: bool) -> None:
    from ailab_kernel.volumes.bids import sidecar
    from ailab_kernel.volumes.stream import save

    text = json.dumps(sidecar(vol, identifying=identifying), indent=1, ensure_ascii=False)
    save(path.with_name(path.name.rpartition(".nii")[0] + ".json"), (text + "\n").encode(), durable=False)
