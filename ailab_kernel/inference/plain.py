"""Inference without any lab: a folder of DICOM, or a NIfTI file, in; SEG, SR and ``labels.nii.gz`` out."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ailab_kernel.archives.instances import encode
from ailab_kernel.ground.errors import VolumeError, WrongUse
from ailab_kernel.ground.ids import Ref, canonical_json
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.models import Bundle, base_bundle, read_bundle
from ailab_kernel.models.registry import GENERAL
from ailab_kernel.volumes.nifti import mask_to_nifti, volume_from_nifti
from ailab_kernel.volumes.series import Refused, volumes_from_folder
from ailab_kernel.volumes.volume import Volume

from .predict import Predictor
from .results import write_results

RUN = "run.json"


@dataclass(frozen=True)
class Written:
    """What one input series became.

    Attributes
    ----------
    series
        SeriesInstanceUID, or the NIfTI file's digest.
    files
        Files written, below the output folder.
    volumes_ml
        Volume of each label.
    """

    series: str
    files: tuple[Path, ...]
    volumes_ml: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainRun:
    """Everything that one run wrote, and every file that it set aside with the reason."""

    written: tuple[Written, ...]
    refused: tuple[Refused, ...]


def plain_bundle(ref: str) -> Bundle:
    """Return the model that a person without a lab means: a base model (``lungs@general``) or a bundle folder."""
    if Path(ref).is_dir():
        return read_bundle(Path(ref))
    wished = Ref.parse(ref)
    if wished.alias not in {None, GENERAL} or wished.version:
        msg = f"{ref}: without a lab only base models (NAME@{GENERAL}) and bundle folders can be used"
        raise WrongUse(msg)
    return base_bundle(wished.name)


def infer_plain(
    bundle: Bundle, source: Path, output: Path, *, device: str = "auto", cache: Path | None = None
) -> PlainRun:
    """Segment every image series found in ``source`` and write the results below ``output``.

    Parameters
    ----------
    bundle
        The model.
    source
        Folder of DICOM files (any mix; others are set aside) or a NIfTI file.
    output
        Folder, created. One series goes straight into it, several into one folder each.
    device
        ``auto``, ``cpu`` or ``cuda``.
    cache
        Where converted networks are kept.

    Raises
    ------
    VolumeError
        No image series could be read.
    """
    volumes, refused = _read(source)
    if not volumes:
        reason = f"; first reason: {refused[0].reason}" if refused else ""
        msg = f"no image series could be read from the input ({len(refused)} files set aside{reason})"
        raise VolumeError(msg)
    predictor = Predictor(bundle, device=device, cache=cache)
    folders = [output if len(volumes) == 1 else output / f"series-{n}" for n in range(1, len(volumes) + 1)]
    written = (_write(predictor, vol, folder) for vol, folder in zip(volumes, folders, strict=True))
    return PlainRun(tuple(written), refused)


def _read(source: Path) -> tuple[tuple[Volume, ...], tuple[Refused, ...]]:
    if source.is_dir():
        found = volumes_from_folder(source)
        return found.volumes, found.refused
    if not source.is_file():
        msg = "the input does not exist; give a folder of DICOM files or a NIfTI file"
        raise WrongUse(msg)
    return (volume_from_nifti(source),), ()


def _write(predictor: Predictor, vol: Volume, folder: Path) -> Written:
    mask = predictor.predict(vol)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "labels.nii.gz"]
    mask_to_nifti(mask, files[0])
    if vol.headers:
        when = _when(folder / RUN, model=predictor.bundle.digest, series=vol.series_uid, engine=predictor.engine)
        results = write_results(mask, vol, predictor.bundle, when=when, engine=predictor.engine)
        for name, ds in (("seg.dcm", results.seg), ("sr.dcm", results.sr)):
            files.append(folder / name)
            atomic_write(files[-1], encode(ds))
    return Written(vol.series_uid, tuple(files), mask.volumes_ml())


def _when(path: Path, **made_from: str) -> datetime:
    """Time of the first run that wrote here: the job's record of a person without a lab, so that a repeat is equal."""
    told = json.loads(path.read_text()) if path.is_file() else {}
    if {key: told.get(key) for key in made_from} != made_from:
        told = {**made_from, "when": datetime.now(UTC).isoformat(timespec="seconds")}
        atomic_write(path, canonical_json(told) + b"\n")
    return datetime.fromisoformat(told["when"])
