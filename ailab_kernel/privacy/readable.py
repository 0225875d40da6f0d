"""What a person, or a program, can read in a file that leaves: texts of every format, each with its place.

Words inside pictures are not read here: `pixels` finds those of medical images.
"""

import base64
import gzip
import html
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from ailab_kernel.dicom.parsing import guarded, read_header
from ailab_kernel.ground.errors import DicomError, ExitBlocked

_DEPTH = 4                                     # archives in archives
_UNPACKED = 4 << 30                            # bytes that one archive may become
_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_EMBEDDED = re.compile(r"data:(image/[a-z+.-]+|application/[a-z+.-]+);base64,([A-Za-z0-9+/=\s]+)")
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,2000}>")
_RUN = re.compile(rb"[\x20-\x7e\x80-\xff]{5,}")
_WIDE = re.compile(rb"(?:[\x20-\x7e]\x00){5,}")
_NIFTI_HEAD = 352
_PICTURES = frozenset({b"\x89PNG", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"GIF8", b"II*\0", b"MM\0*"})


@dataclass(frozen=True)
class Chunk:
    """A text that was found in a file.

    Attributes
    ----------
    place
        File, and where in it: ``notebook.ipynb, cell 3``.
    text
        The text.
    unit
        What a line of it is (``line``, ``value``); empty where the place says all.
    """

    place: str
    text: str
    unit: str = "line"


def chunks(data: bytes, name: str, *, place: str = "", depth: int = 0) -> Iterator[Chunk]:
    """Yield every text in a file.

    Parameters
    ----------
    data
        Its bytes.
    name
        Its name, whose ending says the format where the bytes do not.
    place
        What it is called in places; its name where nothing else is given.
    depth
        How many archives it lies in.

    Raises
    ------
    ExitBlocked
        It cannot be read: nobody can say what leaves with it.
    """
    place = place or name
    read = next((read for fits, read in _FORMATS if fits(data, name.lower())), _binary)
    try:
        with guarded(place):
            yield from read(data, place) if read not in _PACKED else _PACKED[read](data, place, depth)
    except (DicomError, zipfile.BadZipFile, tarfile.TarError) as error:
        msg = f"{place} cannot be read ({type(error).__name__}), so nobody knows what leaves with it; leave it out"
        raise ExitBlocked(msg) from None


def _text(data: bytes, place: str) -> Iterator[Chunk]:
    """Plain text and markup; what is escaped is read as well."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        yield from markup(data.decode("utf-16", "replace"), place)
        return
    try:
        yield from markup(data.decode("utf-8"), place)
    except UnicodeDecodeError:
        yield from markup(data.decode("latin-1"), place)


def markup(text: str, place: str) -> Iterator[Chunk]:
    """Yield a text as it stands, as a browser shows it, and what its addresses and embedded files say."""
    embedded = [(one.group(1), one.group(2)) for one in _EMBEDDED.finditer(text)]
    bare = _EMBEDDED.sub("", text)
    forms = [bare, html.unescape(bare) if "&" in bare else "", unquote(bare) if "%" in bare else ""]
    if "<" in bare:
        forms.append(html.unescape(_TAG.sub("", bare)))
    yield from (Chunk(place, form) for form in dict.fromkeys(forms) if form)
    for number, (_, encoded) in enumerate(embedded, 1):
        yield from _attached(encoded, f"{place}, embedded file {number}")


def _attached(encoded: str, place: str) -> Iterator[Chunk]:
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        yield Chunk(place, encoded)
        return
    yield from chunks(data, "", place=place)


def values(value: Any, place: str) -> Iterator[Chunk]:
    """Yield the keys and values of plain JSON, one a line."""
    texts = [" ".join(one.split()) for one in _flat(value)]
    yield Chunk(place, "\n".join(texts), "value")


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            yield from _flat(one)
    elif isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif value is not None:
        yield str(value)


def _json(data: bytes, place: str) -> Iterator[Chunk]:
    try:
        yield from values(json.loads(data), place)
    except (ValueError, RecursionError):
        yield from _text(data, place)


def _lines(data: bytes, place: str) -> Iterator[Chunk]:
    for number, line in enumerate(data.splitlines(), 1):
        yield from (replace(one, unit="") for one in _json(line, f"{place}, line {number}"))


def notebook(book: Mapping[str, Any], place: str) -> Iterator[Chunk]:
    """Yield the texts of a notebook: cells, outputs, errors, metadata and papermill's parameters."""
    yield from values(book.get("metadata", {}), f"{place}, metadata")
    for number, cell in enumerate(book.get("cells", ()), 1):
        where = f"{place}, cell {number}"
        yield Chunk(where, _joined(cell.get("source", "")))
        yield from values([cell.get("metadata", {}), list(cell.get("attachments", {}))], f"{where}, metadata")
        bundles = [*cell.get("attachments", {}).values(), *(out.get("data", {}) for out in cell.get("outputs", ()))]
        for bundle in bundles:
            yield from _shown(bundle, f"{where}, output")
        for output in cell.get("outputs", ()):
            told = [output.get("text", ""), output.get("ename", ""), output.get("evalue", "")]
            text = "\n".join([*map(_joined, told), *output.get("traceback", ())])
            yield from markup(_COLORS.sub("", text), f"{where}, output")
            yield from values(output.get("metadata", {}), f"{where}, output")


def _shown(bundle: Mapping[str, Any], place: str) -> Iterator[Chunk]:
    for kind, value in bundle.items():
        if not isinstance(value, str | list):
            yield from values(value, place)
        elif kind.startswith(("image/", "application/pdf")) and "svg" not in kind:
            yield from _attached(_joined(value), place)
        else:
            yield from markup(_joined(value), place)


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(map(str, source))


def _notebook(data: bytes, place: str) -> Iterator[Chunk]:
    yield from notebook(json.loads(data), place)


def _dicom(data: bytes, place: str) -> Iterator[Chunk]:
    yield from _binary(data[:128], f"{place}, preamble")
    ds = read_header(data)
    for element in (*ds.file_meta, *ds.iterall()):
        if element.VR != "SQ" and element.value not in (None, ""):
            where = f"{place}, ({element.tag.group:04X},{element.tag.element:04X})"
            raw = isinstance(element.value, bytes)
            yield from chunks(element.value, "", place=where) if raw else (Chunk(where, str(element.value), ""),)


def _pdf(data: bytes, place: str) -> Iterator[Chunk]:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        pdf = PdfReader(io.BytesIO(data))
        yield Chunk(f"{place}, properties", "\n".join(map(str, (pdf.metadata or {}).values())), "value")
        for number, page in enumerate(pdf.pages, 1):
            yield Chunk(f"{place}, page {number}", page.extract_text())
        attached = [(file, one) for file, many in pdf.attachments.items() for one in many]
    except PyPdfError as error:
        msg = f"no PDF that can be read: {type(error).__name__}"
        raise ValueError(msg) from None
    for number, (file, content) in enumerate(attached, 1):
        yield Chunk(f"{place}, name of file {number}", file, "")
        yield from chunks(content, file, place=f"{place}, attached file {number}")


def _picture(data: bytes, place: str) -> Iterator[Chunk]:
    """What a picture says beside its pixels."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            said = [*picture.info.values(), *picture.getexif().values()]
    except UnidentifiedImageError:
        yield from _binary(data, place)
        return
    for one in said:
        yield from _binary(one, place) if isinstance(one, bytes) else (Chunk(place, str(one), ""),)


def _tensors(data: bytes, place: str) -> Iterator[Chunk]:
    """Names and metadata of safetensors: eight bytes of length, then JSON."""
    yield from _json(data[8:8 + int.from_bytes(data[:8], "little")], place)


def _nifti(data: bytes, place: str) -> Iterator[Chunk]:
    """Header and extensions, up to where the voxels begin."""
    import struct

    order = "<" if struct.unpack("<i", data[:4])[0] == _NIFTI_HEAD - 4 else ">"
    begin = int(struct.unpack(f"{order}f", data[108:112])[0])
    yield from _binary(data[:max(begin, _NIFTI_HEAD)], place)


def _binary(data: bytes, place: str) -> Iterator[Chunk]:
    """Runs of letters in bytes of a format that is not known."""
    runs = [one.group().decode("utf-8", "replace") for one in _RUN.finditer(data)]
    runs += [one.group().decode("utf-16-le") for one in _WIDE.finditer(data)]
    yield Chunk(place, "\n".join(runs), "")


def _zip(data: bytes, place: str, depth: int) -> Iterator[Chunk]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
        _check_bomb(sum(one.file_size for one in members), place, depth)
        yield Chunk(f"{place}, comment", archive.comment.decode("utf-8", "replace"), "")
        for number, member in enumerate(members, 1):
            yield from _member(archive.read(member), member.filename, f"{place}, member {number}", depth)


def _tar(data: bytes, place: str, depth: int) -> Iterator[Chunk]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        _check_bomb(sum(one.size for one in members), place, depth)
        for number, member in enumerate(members, 1):
            file = archive.extractfile(member) if member.isfile() else None
            told = f"{member.name} {member.linkname} {member.uname}"
            yield from _member(file.read() if file else b"", told, f"{place}, member {number}", depth)


def _gzip(data: bytes, place: str, depth: int) -> Iterator[Chunk]:
    with gzip.open(io.BytesIO(data)) as file:
        unpacked = file.read(_UNPACKED + 1)
    _check_bomb(len(unpacked), place, depth)
    yield from _binary(data[:200], place)          # the name that it had
    yield from chunks(unpacked, place.removesuffix(".gz"), place=place, depth=depth + 1)


def _member(data: bytes, name: str, place: str, depth: int) -> Iterator[Chunk]:
    yield Chunk(f"{place}, its name", name, "")
    if data:
        yield from chunks(data, name, place=place, depth=depth + 1)


def _check_bomb(size: int, place: str, depth: int) -> None:
    if size > _UNPACKED or depth >= _DEPTH:
        msg = f"{place} unpacks to more than can be searched; send its content plainly"
        raise ExitBlocked(msg)


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:8192] or data[:2] in {b"\xff\xfe", b"\xfe\xff"}


Fits = Callable[[bytes, str], bool]
Read = Callable[[bytes, str], Iterator[Chunk]]
_PACKED: Mapping[Any, Callable[[bytes, str, int], Iterator[Chunk]]] = {_zip: _zip, _tar: _tar, _gzip: _gzip}
_FORMATS: tuple[tuple[Fits, Any], ...] = (     # the first that fits
    (lambda data, _: data[128:132] == b"DICM", _dicom),
    (lambda data, _: data[:4] == b"PK\x03\x04", _zip),
    (lambda data, _: data[:2] == b"\x1f\x8b", _gzip),
    (lambda data, _: data[257:262] == b"ustar", _tar),
    (lambda data, _: data[:5] == b"%PDF-", _pdf),
    (lambda data, _: data[:4] in _PICTURES, _picture),
    (lambda data, _: len(data) > _NIFTI_HEAD and data[344:347] in {b"n+1", b"ni1"}, _nifti),
    (lambda _, name: name.endswith(".safetensors"), _tensors),
    (lambda _, name: name.endswith(".ipynb"), _notebook),
    (lambda _, name: name.endswith(".jsonl"), _lines),
    (lambda data, name: name.endswith(".json") or (data[:1] in {b"{", b"["} and _is_text(data)), _json),
    (lambda data, _: _is_text(data), _text),
)
