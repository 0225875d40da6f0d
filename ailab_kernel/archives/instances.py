"""One instance on its way into an archive: identity checked, bytes made the same way each time, content compared."""

import hashlib
import struct
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ailab_kernel.dicom.parsing import guarded, read_dataset
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError

_META_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_META_LENGTH_AT = 140          # PS3.10 7.1: 128 preamble, DICM, then (0002,0000) UL 4 with its value at byte 140
SHOWN = ("Modality", "StudyDate", "StudyDescription", "SeriesDescription", "SeriesNumber", "BodyPartExamined",
         "PatientID", "PatientName", "AccessionNumber")
IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Instance:
    """An instance ready to be stored.

    Attributes
    ----------
    number
        Instance Number (0020,0013).
    shown
        Values of :data:`SHOWN` as text, in that order.
    data
        PS3.10 file.
    content
        SHA-256 of what was measured and said: transfer syntax and data set. File meta information (who wrote the
        file) does not count, because every system that passes a file on may rewrite it.
    """

    study_uid: str
    series_uid: str
    uid: str
    number: int | None
    shown: tuple[str, ...]
    data: bytes
    content: str


def is_file(data: bytes) -> bool:
    """Whether bytes begin as a PS3.10 file does (section 7.1)."""
    return data[128:132] == b"DICM"


def uid_of(ds: Dataset) -> str:
    """SOP Instance UID to name a refused instance by; a placeholder where it cannot be shown."""
    try:
        return check_uid(ds.SOPInstanceUID)
    except (AttributeError, DicomError):
        return "(no valid SOP Instance UID)"


def identity(ds: Dataset) -> tuple[str, str, str]:
    """Study, Series and SOP Instance UID, each valid and so safe in a path.

    Raises
    ------
    DicomError
        One is missing or malformed, or there is no SOP Class UID.
    """
    for keyword in IDENTITY:
        try:
            check_uid(ds.get(keyword) or "")
        except DicomError as error:
            raise DicomError(f"{keyword} is missing or malformed ({error}); correct it at its source") from error
    return str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)


def instance(ds: Dataset) -> Instance:
    """``ds`` encoded and identified; its values are not changed.

    Raises
    ------
    DicomError
        Its UIDs are not valid, or it cannot be written as a DICOM file.
    """
    with guarded("instance"):
        study_uid, series_uid, uid = identity(ds)
        data = encode(ds)
        return Instance(study_uid, series_uid, uid, number_of(ds), shown(ds), data, fingerprint(data))


def number_of(ds: Dataset) -> int | None:
    """Instance Number (0020,0013); None where it is empty."""
    value = ds.get("InstanceNumber")
    return None if value in (None, "") else int(value)


def shown(ds: Dataset) -> tuple[str, ...]:
    """Values of :data:`SHOWN`; an absent one is empty."""
    values = (ds.get(keyword) for keyword in SHOWN)
    return tuple("" if one is None else str(one).encode(errors="replace").decode() for one in values)


def encode(ds: Dataset) -> bytes:
    """PS3.10 file of ``ds``: equal data sets, equal bytes; Explicit VR Little Endian unless it says otherwise."""
    out = BytesIO()
    meta = getattr(ds, "file_meta", None)
    if meta is None or "TransferSyntaxUID" not in meta:
        ds = _with_syntax(ds, meta)
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def fingerprint(data: bytes) -> str:
    """SHA-256 of the transfer syntax and the data set of a PS3.10 file (its file meta information aside)."""
    if data[_META_LENGTH_AT - 8:_META_LENGTH_AT] != _META_LENGTH:
        return canonical(data)                 # a file without the group length that PS3.10 7.1 asks for
    length, = struct.unpack_from("<I", data, _META_LENGTH_AT)
    body = _META_LENGTH_AT + 4 + length
    at = data.find(b"\x02\x00\x10\x00UI", _META_LENGTH_AT, body)
    size, = struct.unpack_from("<H", data, at + 6)
    syntax = data[at + 8:at + 8 + size].rstrip(b"\0 ")
    digest = hashlib.sha256(syntax + b"\0")
    digest.update(memoryview(data)[body:])
    return digest.hexdigest()


def same_content(one: bytes, other: bytes) -> bool:
    """Whether two PS3.10 files say the same.

    Compared as they are first, then both read and written the same way, since another writer may have padded or nested
    the same values differently.
    """
    return fingerprint(one) == fingerprint(other) or canonical(one) == canonical(other)


def canonical(data: bytes) -> str:
    """:func:`fingerprint` of a file after reading and writing it our way."""
    with guarded("stored file"):
        return fingerprint(encode(read_dataset(data)))


def _with_syntax(ds: Dataset, meta: FileMetaDataset | None) -> Dataset:
    copy = Dataset(ds)
    copy.file_meta = FileMetaDataset() if meta is None else FileMetaDataset(meta)
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return copy
