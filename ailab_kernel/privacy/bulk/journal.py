"""The journal of a run: what is done, so that the same command goes on after a kill; and the report made from it.

It lies in a folder, holds keyed digests and stand-ins, and no name and no UID of an original.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import SettingsError, WrongUse
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.privacy.rules.standins import keyed

from .treatment import Line, Treatment

JOURNAL, REPORT = "deidentified.jsonl", "deidentified.json"
_SAMPLE = 200


class Journal:
    """What earlier runs of the same command did, and what this one does.

    Parameters
    ----------
    folder
        Where it lies; a new folder, or one with a journal.
    treatment
        Profile and key.
    target
        Where an archive is that takes the output; empty where the folder itself does.

    Raises
    ------
    WrongUse
        The folder holds something else.
    SettingsError
        It was begun with another key, profile or target.
    """

    def __init__(self, folder: Path, treatment: Treatment, *, target: str = "") -> None:
        self.lines: dict[str, Line] = {}
        self.units: set[str] = set()
        self.waiting: dict[str, tuple[str, ...]] = {}      # files of a unit that a person is to look at
        self._path = folder / JOURNAL
        if folder.is_dir() and any(folder.iterdir()) and not self._path.is_file():
            msg = "the folder of the output, or of its journal, holds something else; give a new one"
            raise WrongUse(msg)
        head = {"treatment": treatment.fingerprint, "target": target and keyed(treatment.key)("target", target)}
        if self._path.is_file():
            self._resume(head)
        else:
            atomic_write(self._path, json.dumps(head).encode() + b"\n")

    def keep(self, lines: Sequence[Line], *, unit: str = "") -> None:
        """Say durably what became of files, and that a unit is done with where it is.

        What was proven and then not taken, or broke off, leaves its unit undone: the next run tries it again.
        """
        told = [asdict(line) for line in lines if self.lines.get(line.file) != line]
        whole = bool(unit) and not any(line.reason and (line.sha256 or line.file == unit) for line in lines)
        waits = [line.file for line in lines if line.waits]
        told += [{"unit": unit} | ({"waits": waits} if waits else {})] if whole else []
        with self._path.open("a", encoding="utf8") as file:
            file.write("".join(json.dumps(one) + "\n" for one in told))
            file.flush()
            os.fsync(file.fileno())
        for one in told:
            self._take(one)

    def due(self, unit: str, treatment: Treatment) -> bool:
        """Whether a unit is to be worked through: it was not, or a person decided on a file of it."""
        return unit not in self.units or any(treatment.due(self.lines[file]) for file in self.waiting.get(unit, ()))

    def _resume(self, head: dict[str, str]) -> None:
        """Read what was done; a line that was cut off by a crash was not."""
        whole = [line for line in self._path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if {"target": ""} | json.loads(whole[0]) != head:
            msg = ("that was begun with another key or profile, or for another archive; go on with that one, or give a "
                   "new folder")  # fmt: skip
            raise SettingsError(msg)
        os.truncate(self._path, sum(map(len, whole)))
        for line in whole[1:]:
            self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:
        if "unit" in told:
            self.units.add(told["unit"])
            self.waiting[told["unit"]] = tuple(told.get("waits", ()))
            self.lines.pop(told["unit"], None)     # that it once broke off
        else:
            self.lines[told["file"]] = _line(told)


@dataclass
class Followed:
    """A journal that another process may be writing, as far as it was read.

    Attributes
    ----------
    folder
        Where the journal lies.
    lines
        The newest line of each file.
    waited
        By unit, its files that a person was ever to look at.
    """

    folder: Path
    lines: dict[str, Line] = field(default_factory=dict)
    waited: dict[str, set[str]] = field(default_factory=dict)
    _read: int = 0

    def refresh(self) -> "Followed":
        """Read what was written meanwhile; a line that is not whole yet is left for later."""
        path = self.folder / JOURNAL
        if path.is_file() and path.stat().st_size > self._read:
            with path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data[:data.rfind(b"\n") + 1]
            self._read += len(whole)
            for told in map(json.loads, whole.splitlines()):
                if "file" in told:
                    self.lines[told["file"]] = _line(told)
                elif "unit" in told:
                    self.waited.setdefault(told["unit"], set()).update(told.get("waits", ()))
        return self


def _line(told: dict[str, Any]) -> Line:
    return Line(**told | {"texts": tuple(told["texts"])})


def report_of(folder: Path, treatment: Treatment, lines: Iterable[Line]) -> dict[str, Any]:
    """Write the report of a run into its folder and return it."""
    held = list(lines)
    counts: Counter[str] = Counter()
    for line in held:
        counts.update(line.counts or {})
    texts = sorted({text for line in held for text in line.texts}, key=partial(keyed(treatment.key), "sample"))
    report = {
        "files": len(held), "written": len({line.output for line in held if line.output}),
        "refused": [_refused(line) for line in held if line.reason],
        "options": list(treatment.profile.options), "counts": dict(sorted(counts.items())),
        "pixels": {"read": sum(bool(line.pixels) for line in held),
                   "masked": sum(bool(line.pixels and line.pixels["frames_masked"]) for line in held)},
        "values_searched": sum(line.searched for line in held), "values_met": 0, "texts_to_review": texts[:_SAMPLE],
    }  # fmt: skip
    if treatment.review:
        report["review"] = _reviewed(held)
    atomic_write(folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False).encode() + b"\n")
    return report


def _reviewed(lines: Iterable[Line]) -> dict[str, int]:
    """How many objects wait for a person, and how many left as a person decided, with how many boxes."""
    held = list(lines)
    decided = [line for line in held if line.decision and line.output]
    boxes = sum(int(line.pixels["boxes"]) for line in decided if line.pixels)
    return {"waiting": sum(line.waits for line in held), "decided": len(decided), "boxes": boxes}


def _refused(line: Line) -> dict[str, Any]:
    told = {"study": line.study, "number": line.number, "instance": line.instance, "reason": line.reason}
    return {key: value for key, value in told.items() if value}
