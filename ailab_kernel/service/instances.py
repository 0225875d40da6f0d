"""Single instances of an archive: where one is, and its file; what a client compares before it stores."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ailab_kernel.archives.archive import Archive
from ailab_kernel.archives.instances import Instance
from ailab_kernel.archives.qido import IDENTITY
from ailab_kernel.archives.storing import Place
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import ArchiveRefused, DicomError, NotFound, WrongUse

_BLOCK = 1 << 20
_AT_ONCE = 4 << 20


def places(archive: Archive, uids: Sequence[str], *, study_uid: str = "", series_uid: str = "") -> list[Place]:
    """Where the archive has these SOP Instance UIDs, in whatever series.

    ``study_uid`` and ``series_uid`` help a PACS that answers no question without them.
    """
    for uid in uids:
        _check(uid)
    if not hasattr(archive, "known"):
        msg = f"{archive.url} does not search instances; search its series"
        raise ArchiveRefused(msg)
    asked = [Instance(study_uid, series_uid, uid, None, (), b"", "") for uid in uids]
    return [place for uid, place in sorted(archive.known(asked).items()) if uid in uids]


def file_of(archive: Archive, *, study_uid: str, series_uid: str, uid: str) -> bytes | Path:
    """PS3.10 file of one instance: its bytes, or where it is; NotFound where the archive has none in that series."""
    for one in (study_uid, series_uid, uid):
        _check(one)
    wanted = dict(zip(IDENTITY, (study_uid, series_uid, uid), strict=True))
    found = [one for one in places(archive, [uid], study_uid=study_uid, series_uid=series_uid)
             if all(one.get(keyword) == value for keyword, value in wanted.items())]  # fmt: skip
    if not found:
        msg = f"no instance {uid} in series {series_uid} of {archive.url}; search the archive again"
        raise NotFound(msg)
    return archive.held({uid: found[0]})[uid]  # type: ignore[attr-defined]


def multipart(files: Iterator[bytes | Path], boundary: str) -> Iterator[bytes]:
    """``multipart/related`` answer of PS3.10 files, piece by piece (RFC 2046 5.1), each part with its length.

    An error on the way leaves the closing delimiter out: whoever reads sees an answer that broke off.
    """
    mark = f"--{boundary}\r\n"
    for file in files:
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        head = f"{mark}Content-Type: application/dicom\r\nContent-Length: {size}\r\n\r\n".encode()
        yield from _part(head, file, size)
        mark = f"\r\n--{boundary}\r\n"
    yield f"\r\n--{boundary}--\r\n".encode()


def _part(head: bytes, file: bytes | Path, size: int) -> Iterator[bytes]:
    if isinstance(file, bytes):
        yield head + file
    elif size <= _AT_ONCE:
        yield head + file.read_bytes()
    else:
        yield head
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                yield block


def _check(uid: str) -> None:
    try:
        check_uid(uid)
    except DicomError as error:
        msg = f"{error}; take the UID from a search"
        raise WrongUse(msg) from error
