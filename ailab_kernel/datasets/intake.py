"""The one gate from the archive to research: the only place where archive, privacy and volumes meet.

A phantom, and a study that says that its patient's identity was removed, enter as they are. Any other needs a stated
reason, is de-identified on its way in (`privacy.scrub`), and every instance is searched for what it said before; the
record keeps the profile and the certificate. What enters is a pack: pixels, geometry, UIDs and an allow-list of
technical facts; no header comes along.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import dcmread

from ailab_kernel import __version__
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.catalog import Record
from ailab_kernel.ground.errors import NotDeidentified, VolumeError
from ailab_kernel.privacy.exits import learn
from ailab_kernel.privacy.pixels.redact import Pixels, Redactor
from ailab_kernel.privacy.rules.profile import profile_of
from ailab_kernel.privacy.rules.standins import StandIns
from ailab_kernel.privacy.rules.table import EDITION
from ailab_kernel.privacy.scrub import Scrubber
from ailab_kernel.privacy.verify import prove
from ailab_kernel.volumes.pack import pack, unpack
from ailab_kernel.volumes.series import attributes_of, volume_from_files
from ailab_kernel.volumes.volume import Volume

from .phantom_dicom import is_phantom

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive, Series, Study
    from ailab_kernel.ground.catalog import Catalog
    from ailab_kernel.volumes.series.instance import File
    from ailab_kernel.workspace import Workspace

KIND = "image"
# What says that a study may enter, and whose it is.
_MARKS = ("PatientID", "PatientIdentityRemoved", "StudyDescription", "DeidentificationMethod")
_SITE = "InstitutionName"                      # (0008,0080)
IMAGES = ("CT", "MR", "PT")
ENTRY = profile_of("research+uids")            # the lab keeps UIDs, so that results find their study again


@dataclass(frozen=True)
class Image:
    """A series inside the research side.

    Attributes
    ----------
    digest
        SHA-256 of the pack; the bytes are in the object store.
    patient
        The lab's pseudonym.
    facts
        Technical attributes by DICOM keyword, ``site`` (a pseudonym) and ``pixels``, the hash of the stored values.
    reason
        Why a study without PatientIdentityRemoved YES was let in; empty otherwise.
    privacy
        How its patient was taken out: by whom, with which options, how many values of the originals were searched.
    """

    digest: str
    patient: str
    study_uid: str
    series_uid: str
    facts: Mapping[str, str] = field(repr=False)
    reason: str = ""
    privacy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    record: str = field(default="", repr=False)


def read_series(archive: "Archive", series: "Series") -> Volume:
    """Read one series of the archive as a volume, for use on the clinical side (nothing is kept)."""
    return volume_from_files(archive.retrieve_files(series))


def main_series(study: "Study") -> "Series":
    """Return the image series with the most instances: what a reader would open.

    Raises
    ------
    VolumeError
        The study holds no image series.
    """
    images = [series for series in study.series if series.modality in IMAGES]
    if not images:
        msg = f"study {study.uid} holds no {', '.join(IMAGES)} series; give a series, or another study"
        raise VolumeError(msg)
    return max(images, key=lambda series: (series.instances or 0, series.uid))


def take_in(workspace: "Workspace", series: "Series", *, reason: str = "") -> Image:
    """Bring one series to the research side, once, and return it.

    Parameters
    ----------
    workspace
        Archive and catalog.
    series
        What to bring.
    reason
        Why a study that is not marked as de-identified may enter; recorded and audited.

    Raises
    ------
    NotDeidentified
        PatientIdentityRemoved (0012,0062) is not YES, it is no phantom, and no reason was given; or it cannot be
        de-identified.
    """
    known = known_image(workspace.catalog, series.uid)
    if known:
        return known
    gate = _Gate(workspace.catalog, series.uid, reason)
    volume = volume_from_files(gate.passed(workspace.archive.retrieve_files(series)))
    marks = next(iter(attributes_of(volume.headers, *_MARKS))) | {_SITE: str(volume.headers[0].get(_SITE) or "")}
    return _keep(workspace.catalog, volume, marks=marks, gate=gate)


def known_image(catalog: "Catalog", series_uid: str) -> Image | None:
    """Return the image of a series that came through the gate before."""
    found = catalog.query(KIND, name=series_uid)
    return _image(found[-1]) if found else None


@dataclass
class _Gate:
    """One series on its way in; ``scrubbed`` counts the instances that left their patient here."""

    catalog: "Catalog"
    series_uid: str
    reason: str
    scrubbed: int = 0
    searched: int = 0

    def passed(self, files: Iterable["File"]) -> Iterator["File"]:
        """Yield the files as they may enter: one that is nobody's as it is, any other without its patient."""
        scrubber = Scrubber(ENTRY, StandIns(self.catalog.pseudonym), pixels=Redactor(Pixels.DETECT))
        for file in files:
            header = _marks(file)
            if header["PatientIdentityRemoved"] == "YES" or is_phantom(header):
                yield file
            else:
                yield self._entering(file, scrubber)

    @property
    def privacy(self) -> dict[str, Any]:
        """What the record says."""
        if not self.scrubbed:
            return {"by": "source"}
        return {"by": f"AI-LAB {__version__}", "edition": EDITION, "options": list(ENTRY.options),
                "instances": self.scrubbed, "values_searched": self.searched, "values_met": 0}  # fmt: skip

    def _entering(self, file: "File", scrubber: Scrubber) -> bytes:
        if not self.reason:
            msg = (f"series {self.series_uid} is not marked as de-identified (PatientIdentityRemoved YES); "
                   "state a reason, which is recorded, and it is de-identified as it enters")  # fmt: skip
            raise NotDeidentified(msg)
        if not self.scrubbed:                  # one instance names the patient of all
            learn(self.catalog, file)
        done, made, proof = prove(scrubber, file if isinstance(file, bytes) else file.read_bytes())
        if done.redaction and done.redaction.held:
            msg = f"series {self.series_uid}: a person has to look at its pixels first: {done.redaction.held}"
            raise NotDeidentified(msg)
        if not proof.clean:
            msg = (f"series {self.series_uid}: after de-identification a value of the original was met again in "
                   f"{', '.join(proof.found)}; it stays out: tell the lab's administrator")  # fmt: skip
            raise NotDeidentified(msg)
        self.scrubbed, self.searched = self.scrubbed + 1, self.searched + proof.searched
        return made


def _marks(file: "File") -> dict[str, str]:
    with guarded("header"):
        ds = dcmread(BytesIO(file) if isinstance(file, bytes) else file, stop_before_pixels=True,
                     specific_tags=list(_MARKS))  # fmt: skip
        return {keyword: str(ds.get(keyword, "")) for keyword in _MARKS}


def _keep(catalog: "Catalog", volume: Volume, *, marks: Mapping[str, str], gate: _Gate) -> Image:
    patient = marks["PatientID"]
    body = {
        "image": catalog.put(pack(volume)),
        "patient": patient if gate.scrubbed else catalog.pseudonym("patient", patient or volume.study_uid),
        "study_uid": volume.study_uid,
        "series_uid": volume.series_uid,
        "facts": {**volume.facts, **_site(catalog, marks), "pixels": pixel_hash(volume)},
        "reason": gate.reason if gate.scrubbed else "",
        "privacy": gate.privacy,
    }
    if gate.scrubbed:
        catalog.audit("deidentify", series=volume.series_uid, instances=str(gate.scrubbed),
                      options=",".join(ENTRY.options))  # fmt: skip
    catalog.audit("intake", series=volume.series_uid, image=str(body["image"]), reason=str(body["reason"]),
                  options=",".join(gate.privacy.get("options", ())))  # fmt: skip
    return _image(catalog.append(KIND, body, name=volume.series_uid))


def _site(catalog: "Catalog", marks: Mapping[str, str]) -> dict[str, str]:
    """The site, for subgroups: a phantom's by its name, any other by a pseudonym; nothing where none is told."""
    name = marks.get(_SITE, "").strip()
    if not name:
        return {}
    return {"site": name if is_phantom(marks) else f"site {catalog.pseudonym('site', name)[:6]}"}


def pixel_hash(volume: Volume) -> str:
    """Return a SHA-256 of the stored values and their shape: equal pixels under other UIDs are found by it."""
    values = np.ascontiguousarray(volume.array, volume.array.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{values.dtype.str}{values.shape}".encode() + values.tobytes()).hexdigest()


def _image(record: Record) -> Image:
    body = dict(record.body)
    return Image(body.pop("image"), **body, record=record.digest)


def image_volume(catalog: "Catalog", digest: str) -> Volume:
    """Return the volume of a kept image, its bytes checked against ``digest`` and then mapped, not read twice."""
    catalog.check(digest)
    return unpack(catalog.path(digest))
