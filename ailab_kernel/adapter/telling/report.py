"""A study's findings as a value: whose study it is, what was found, by what. It leaves for clinical systems only."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset

from ailab_kernel.dicom.codes import Code
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.ids import canonical_json
from ailab_kernel.ground.store import atomic_write

WARNING = "Found by a program. Nobody has looked at it: check it on the images before you rely on it."
# Of the header: who it is about, and what the hospital calls the examination.
_HEADER = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
           "StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription")  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """The volume of one label.

    Attributes
    ----------
    label
        Name for people, ``heart-wall``.
    code
        What it is.
    volume_ml
        Millilitres.
    """

    label: str
    code: Code
    volume_ml: float


@dataclass(frozen=True)
class Report:
    """What is told.

    Attributes
    ----------
    uid
        The same for the same work, so that whoever hears it twice can tell.
    header
        DICOM keywords and values of the study; identifying, so never to be shown.
    model
        ``heart-wall@3``.
    when
        When it was found, UTC.
    findings
        Volumes.
    objects
        SOP Instance UIDs of the results.
    """

    uid: str
    header: dict[str, str] = field(repr=False)
    model: str
    when: datetime
    findings: tuple[Finding, ...]
    objects: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON; equal reports are equal bytes."""
        told = {**asdict(self), "when": self.when.isoformat()}
        atomic_write(path, canonical_json(told))

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `save` wrote."""
        told: dict[str, Any] = json.loads(path.read_bytes())
        findings = tuple(Finding(one["label"], Code(**one["code"]), one["volume_ml"]) for one in told["findings"])
        return cls(told["uid"], told["header"], told["model"], datetime.fromisoformat(told["when"]), findings,
                   tuple(told["objects"]))  # fmt: skip


def report_of(
    work: str, header: Dataset, *, model: str, when: datetime, findings: Sequence[Finding], objects: Sequence[str]
) -> Report:
    """Return the report of a piece of work, the study's values taken from one instance's header."""
    values = {name: str(header.get(name) or "") for name in _HEADER}
    return Report(derived_uid("adapter report", work), values, model, when, tuple(findings), tuple(objects))
