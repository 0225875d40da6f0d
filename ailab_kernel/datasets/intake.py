"""The one gate from the archive to research: the only place where archive, privacy and volumes meet.

Until the privacy engine stands, a study enters only when it says that its patient's identity was removed, when it is
a phantom, or when the caller states a reason, which is recorded. What enters is a pack: pixels, geometry, UIDs and an
allow-list of technical facts; no header comes along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ailab_kernel.ground.catalog import Record
from ailab_kernel.ground.errors import NotDeidentified, VolumeError
from ailab_kernel.volumes.pack import pack, unpack
from ailab_kernel.volumes.series import attributes_of, volume_from_files
from ailab_kernel.volumes.volume import Volume

from .phantom_dicom import is_phantom

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive, Series, Study
    from ailab_kernel.ground.catalog import Catalog
    from ailab_kernel.workspace import Workspace

KIND = "image"
# What says that a study may enter, and whose it is.
_MARKS = ("PatientID", "PatientIdentityRemoved", "StudyDescription", "DeidentificationMethod")
IMAGES = ("CT", "MR", "PT")


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
        Technical attributes by DICOM keyword.
    reason
        Why a study without PatientIdentityRemoved YES was let in; empty otherwise.
    """

    digest: str
    patient: str
    study_uid: str
    series_uid: str
    facts: Mapping[str, str] = field(repr=False)
    reason: str = ""
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
        PatientIdentityRemoved (0012,0062) is not YES, it is no phantom, and no reason was given.
    """
    known = known_image(workspace.catalog, series.uid)
    if known:
        return known
    volume = read_series(workspace.archive, series)
    marks = list(attributes_of(volume.headers, *_MARKS))
    if not reason:
        _check_entry(marks, series.uid)
    return _keep(workspace.catalog, volume, patient=marks[0]["PatientID"], reason=reason)


def known_image(catalog: "Catalog", series_uid: str) -> Image | None:
    """Return the image of a series that came through the gate before."""
    found = catalog.query(KIND, name=series_uid)
    return _image(found[-1]) if found else None


def _check_entry(marks: Sequence[Mapping[str, str]], series_uid: str) -> None:
    if all(one["PatientIdentityRemoved"] == "YES" or is_phantom(one) for one in marks):
        return
    msg = (f"series {series_uid} is not marked as de-identified (PatientIdentityRemoved YES); "
           "de-identify it first, or state a reason, which is recorded")  # fmt: skip
    raise NotDeidentified(msg)


def _keep(catalog: "Catalog", volume: Volume, *, patient: str, reason: str) -> Image:
    body = {
        "image": catalog.put(pack(volume)),
        "patient": catalog.pseudonym("patient", patient or volume.study_uid),
        "study_uid": volume.study_uid,
        "series_uid": volume.series_uid,
        "facts": dict(volume.facts),
        "reason": reason,
    }
    catalog.audit("intake", series=volume.series_uid, image=str(body["image"]), reason=reason)
    return _image(catalog.append(KIND, body, name=volume.series_uid))


def _image(record: Record) -> Image:
    body = dict(record.body)
    return Image(body.pop("image"), **body, record=record.digest)


def image_volume(catalog: "Catalog", digest: str) -> Volume:
    """Return the volume of a kept image, its bytes checked against ``digest`` and then mapped, not read twice."""
    catalog.check(digest)
    return unpack(catalog.path(digest))
