"""What a received data set says that it is: enough to write it down, and to tell a sender what is wrong with it."""

import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from ailab_kernel.dicom.parsing import DEFLATED, guarded, read_header
from ailab_kernel.dicom.scan import scan
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError

from .message import NOT_UNDERSTOOD, OTHER_CLASS

_WANTED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")
_LARGEST_HEADER = 1 << 28                      # of a file that is read whole to be understood
_ONE_READER = threading.Lock()                 # the filters of warnings are the process's, not the thread's


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
        values = _plain(head, size) or _read(path, deflated=DEFLATED.encode() in head[:400])
        uid, sop_class, study_uid, series_uid = (check_uid(value) for value in values)
    except DicomError as error:
        return Seen(misfit=Misfit(NOT_UNDERSTOOD, str(error)))
    return Seen(uid, sop_class, study_uid, series_uid)


def _plain(head: bytes, size: int) -> tuple[str, ...] | None:
    found = scan(head, size)
    try:
        return tuple(found.text(keyword) for keyword in _WANTED) if found else None
    except ValueError:
        return None


def _read(path: str, *, deflated: bool) -> tuple[str, ...]:
    """By pydicom: any transfer syntax, any order; a bomb is bounded by `dicom.parsing`."""
    with _ONE_READER, guarded("data set"), warnings.catch_warnings():
        warnings.simplefilter("ignore")        # pydicom comments on odd elements; what matters is whether it can read
        ds = read_header(Path(path), max_bytes=_LARGEST_HEADER) if deflated else dcmread(
            path, defer_size=4096, specific_tags=list(_WANTED))  # fmt: skip
        return tuple(str(ds.get(keyword, "")) for keyword in _WANTED)
