"""The top level of a received file, element by element, in bounded memory and time; what is nested is skipped.

pydicom builds an object for every item of a sequence that has no length, and inflates a deflated data set whole: 30 MB
from a stranger become gigabytes.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ailab_kernel.dicom.parsing import DEFLATED
from ailab_kernel.ground.errors import DicomError

from .meta import SYNTAX, read_meta

_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END, _DELIMITERS = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFE
_META_BYTES = 1 << 16
_MOST_HEADS = 1 << 20                          # elements and items of one file: a second; no image has a tenth of it
_DEEPEST = 64
_PART = 1 << 16
# What a deflated data set may hold at least, and how many times its bytes beyond (`dicom.parsing`).
_INFLATED_ANYWAY, _INFLATED_TIMES = 1 << 26, 64


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the top level.

    Attributes
    ----------
    head
        Its tag, VR and length as they stand in the data set.
    value
        None where it is nested, or longer than was asked for.
    """

    tag: int
    head: bytes
    value: bytes | None


@dataclass(frozen=True)
class Form:
    """How a data set is written."""

    implicit: bool
    order: str = "<"


def form_of(syntax: str) -> Form:
    """Return how a transfer syntax writes elements."""
    return Form(syntax == _IMPLICIT, ">" if syntax == _BIG_ENDIAN else "<")


def syntax_of(path: str | Path) -> str:
    """Return a file's Transfer Syntax UID (0002,0010); DicomError where it has none."""
    with Path(path).open("rb") as file:
        return _begin(file)[0]


def top_level(path: str | Path, *, longest: int) -> Iterator[Element]:
    """Yield the elements of a file's data set, values of up to ``longest`` bytes with them.

    Raises
    ------
    DicomError
        It is cut off, its lengths do not fit, or it holds more elements, levels or deflated bytes than an image does.
    """
    with Path(path).open("rb") as file:
        syntax, begin = _begin(file)
        size = file.seek(0, 2)
        file.seek(begin)
        source = _Inflated(file, size) if syntax == DEFLATED else _Plain(file, size - begin)
        yield from _Walk(source, form_of(syntax)).elements(longest)


def _begin(file: BinaryIO) -> tuple[str, int]:
    found = read_meta(file.read(_META_BYTES))
    if found is None:
        msg = "the file does not say what it is; send the object again from its source"
        raise DicomError(msg)
    return found[0][SYNTAX], found[1]


class _Source(Protocol):
    def read(self, size: int) -> bytes:
        """Exactly so many bytes; DicomError where there are fewer."""
        ...

    def skip(self, size: int) -> None:
        """Go over so many."""
        ...

    def over(self) -> bool:
        """Whether no element can follow."""
        ...


class _Plain:
    """A file from where it stands."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file, self._left = file, left

    def read(self, size: int) -> bytes:
        """See `_Source`."""
        self._take(size)
        return self._file.read(size)

    def skip(self, size: int) -> None:
        """See `_Source`."""
        self._take(size)
        self._file.seek(size, 1)

    def over(self) -> bool:
        """See `_Source`."""
        return self._left < 8

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            msg = "the data set is cut off, or a length in it is wrong; send the object again from its source"
            raise DicomError(msg)


class _Inflated:
    """What a file holds deflated (PS3.5 A.5), a part at a time."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._inflate = file, zlib.decompressobj(-zlib.MAX_WBITS)
        self._left, self._part, self._at = _INFLATED_ANYWAY + _INFLATED_TIMES * size, b"", 0

    def read(self, size: int) -> bytes:
        """See `_Source`."""
        while len(self._part) - self._at < size:
            if not self._more():
                msg = "the deflated data set is cut off; send the object again from its source"
                raise DicomError(msg)
        self._at += size
        return self._part[self._at - size:self._at]

    def skip(self, size: int) -> None:
        """See `_Source`; in parts, for nothing may be whole in memory."""
        while size:
            step = min(size, _PART)
            self.read(step)
            size -= step

    def over(self) -> bool:
        """See `_Source`."""
        while len(self._part) - self._at < 8:
            if not self._more():
                return True
        return False

    def _more(self) -> bool:
        """Inflate another part; False where there is none."""
        if self._inflate.eof:
            return False
        packed = self._inflate.unconsumed_tail or self._file.read(_PART)
        try:
            part = self._inflate.decompress(packed, _PART)
        except zlib.error as error:
            msg = "the deflated data set is broken; send the object again from its source"
            raise DicomError(msg) from error
        self._left -= len(part)
        if self._left < 0:
            msg = "the deflated data set holds more than any image does; ask for another transfer syntax"
            raise DicomError(msg)
        self._part, self._at = self._part[self._at:] + part, 0
        return bool(packed or part)


class _Walk:
    def __init__(self, source: _Source, form: Form) -> None:
        self._source, self._form, self._heads = source, form, _MOST_HEADS
        self._element = struct.Struct(f"{form.order}HH2sH").unpack
        self._item = struct.Struct(f"{form.order}HHI").unpack
        self._long = struct.Struct(f"{form.order}I").unpack

    def elements(self, longest: int) -> Iterator[Element]:
        """Yield the top level."""
        while not self._source.over():
            tag, vr, length, head = self._next(self._form.implicit)
            if length == _UNDEFINED:
                self._skip_nested(self._form.implicit or vr == b"UN")
                yield Element(tag, head, None)
            elif length > longest:
                self._source.skip(length)
                yield Element(tag, head, None)
            else:
                yield Element(tag, head, self._source.read(length))

    def _next(self, implicit: bool) -> tuple[int, bytes, int, bytes]:
        """Tag, VR, length and all bytes of the next element's head; delimiters and odd VRs have the implicit form."""
        self._heads -= 1
        if self._heads < 0:
            msg = f"the data set holds more than {_MOST_HEADS} elements and items, as no image does"
            raise DicomError(msg)
        head = self._source.read(8)
        group, number, vr, length = self._element(head)
        tag = group << 16 | number
        if implicit or group == _DELIMITERS or not (vr.isalpha() and vr.isupper()):
            return tag, b"", self._item(head)[2], head
        if vr in _LONG_VRS:
            more = self._source.read(4)
            return tag, vr, self._long(more)[0], head + more
        return tag, vr, length, head

    def _skip_nested(self, implicit: bool) -> None:
        """Go behind the end of an element of undefined length: items, and elements of undefined length within them."""
        levels = [implicit]                    # whether VRs are implicit; even levels hold items, odd ones elements
        while levels:
            tag, vr, length, _ = self._next(levels[-1])
            within_item = len(levels) % 2 == 0
            if tag == (_ITEM_END if within_item else _SEQUENCE_END):
                levels.pop()
            elif not within_item and tag != _ITEM:
                msg = "a sequence holds what is no item; send the object again from its source"
                raise DicomError(msg)
            elif length != _UNDEFINED:
                self._source.skip(length)
            elif len(levels) >= _DEEPEST:
                msg = f"sequences lie within each other {_DEEPEST // 2} deep, as in no image"
                raise DicomError(msg)
            else:
                levels.append(levels[-1] or vr == b"UN")
