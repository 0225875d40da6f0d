"""What a received data set says that it is: enough to write it down, and to tell a sender what is wrong with it."""

from dataclasses import dataclass

from ailab_kernel.dicom.scan import scan
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError

from .message import NOT_UNDERSTOOD, OTHER_CLASS
from .walk import top_level

_WANTED = {0x00080018: "SOPInstanceUID", 0x00080016: "SOPClassUID", 0x0020000D: "StudyInstanceUID",
           0x0020000E: "SeriesInstanceUID"}  # fmt: skip
_LONGEST_UID = 64


@dataclass(frozen=True)
class Misfit:
    """Why a data set is set aside: the status for the sender, and the reason for the ledger."""

    status: int
    reason: str

    @classmethod
    def other(cls, same_instance: bool) -> "Misfit":
        """Return what is wrong where data set and command name different things."""
        what = "SOP Class UID" if same_instance else "SOP Instance UID"
        return cls(OTHER_CLASS, f"{what} differs between command and data set")


@dataclass(frozen=True)
class Seen:
    """What was found; the UIDs are empty where it could not be understood."""

    uid: str = ""
    sop_class: str = ""
    study_uid: str = ""
    series_uid: str = ""
    misfit: Misfit | None = None


def look(head: bytes, path: str, *, size: int) -> Seen:
    """Look at a received file.

    Parameters
    ----------
    head
        Its first bytes, file meta information included.
    path
        The file, read only where its head is no plain one (`dicom.scan`).
    size
        Of the file, bytes.
    """
    try:
        values = _plain(head, size) or _read(path)
        uid, sop_class, study_uid, series_uid = (check_uid(value) for value in values)
    except DicomError as error:
        return Seen(misfit=Misfit(NOT_UNDERSTOOD, str(error)))
    return Seen(uid, sop_class, study_uid, series_uid)


def _plain(head: bytes, size: int) -> tuple[str, ...] | None:
    found = scan(head, size)
    try:
        return tuple(found.text(keyword) for keyword in _WANTED.values()) if found else None
    except ValueError:
        return None


def _read(path: str) -> tuple[str, ...]:
    """Any transfer syntax, any order, whatever a stranger put into it (`walk`)."""
    found = dict.fromkeys(_WANTED, b"")
    for one in top_level(path, longest=_LONGEST_UID):
        if one.tag in found:
            found[one.tag] = one.value or b""
    return tuple(value.rstrip(b"\0 ").decode("ascii", "replace") for value in found.values())
