"""The exits: what leaves the lab is searched for every identifier that the lab knows, by place and never by value.

The index lies on the trusted side (`ground.identifiers`); here are what passes it on the way in, and what stands
before every way out. Something found is refused; who may, lets it out with a reason, which is written down.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import DicomError, ExitBlocked, WrongUse
from ailab_kernel.ground.identifiers import KINDS, Sighting

from .readable import Chunk, chunks

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.ground.catalog import Catalog

MARK = "[removed]"
BLOCKED = "exit-blocked"
_AT_ONCE = 1 << 20                             # characters that are searched together; the service takes 16 MiB
_OVERLAP = 1000                                # what stands on both sides of a cut is seen whole
_TOLD = 10                                     # places in a message


def known_of(ds: "Dataset") -> dict[str, list[str]]:
    """Return the identifying values of an object at any depth, by keyword; none of one without its patient."""
    found: dict[str, list[str]] = {}
    if ds.get("PatientIdentityRemoved") == "YES":
        return found
    for element in ds.iterall():
        if element.keyword in KINDS and element.value:
            values = element.value if element.VM > 1 else [element.value]
            found.setdefault(element.keyword, []).extend(str(one) for one in values)
    return found


def learn(catalog: "Catalog", file: bytes | Path) -> None:
    """Remember the identifying values of a PS3.10 file that passes; one that cannot be read teaches nothing."""
    from pydicom import dcmread

    from ailab_kernel.dicom.parsing import guarded

    try:
        with guarded("header"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = known_of(dcmread(BytesIO(file) if isinstance(file, bytes) else file, stop_before_pixels=True))
    except DicomError:
        return
    if known:
        catalog.remember(known)


def learn_from(catalog: "Catalog", attributes: Mapping[str, str]) -> None:
    """Remember identifying values, given by keyword as text; empty ones and other keywords are passed over."""
    known = {kind: value.split("\\") for kind, value in attributes.items() if kind in KINDS and value}
    if known and attributes.get("PatientIdentityRemoved") != "YES":
        catalog.remember(known)


def search(catalog: "Catalog", found_in: Iterable[Chunk]) -> tuple[str, ...]:
    """Return the places where a known identifier stands, in words; empty where none does."""
    places: dict[str, None] = {}
    for part in _portions(found_in):
        for one in catalog.found([chunk.text for chunk in part]):
            places[_place(part[one.text], one)] = None
    return tuple(places)


def search_files(catalog: "Catalog", paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the places in files, and in all files of folders, where a known identifier stands; names included.

    Raises
    ------
    ExitBlocked
        A file that cannot be read.
    WrongUse
        No such file or folder.
    """
    files = list(_files(paths))
    names = [name for _, name in files]
    hit = {one.text: one for one in catalog.found(names)}
    called = [f"file {number + 1} of {len(files)}" if number in hit else name for number, name in enumerate(names)]
    named = tuple(f"{one.kind} in the name of {called[number]}" for number, one in sorted(hit.items()))
    inside = (chunk for (path, name), place in zip(files, called, strict=True)
              for chunk in chunks(path.read_bytes(), name, place=place))  # fmt: skip
    return named + search(catalog, inside)


def check_files(catalog: "Catalog", paths: Sequence[Path], *, what: str, reason: str = "") -> tuple[str, ...]:
    """Raise ExitBlocked where files that are about to leave hold a known identifier; see :func:`check`."""
    return _judge(catalog, search_files(catalog, paths), what=what, reason=reason)


def check(catalog: "Catalog", found_in: Iterable[Chunk], *, what: str, reason: str = "") -> tuple[str, ...]:
    """Let texts out, or not.

    Parameters
    ----------
    catalog
        The trusted side.
    found_in
        The texts.
    what
        What leaves: ``report validate-1a2b3c4d``.
    reason
        Why it may leave all the same; needs the right to, and is written down.

    Returns
    -------
    tuple of str
        Places that were let out.

    Raises
    ------
    ExitBlocked
        A known identifier, and no reason.
    CatalogError
        A reason, and no right to give one.
    """
    return _judge(catalog, search(catalog, found_in), what=what, reason=reason)


def redacted(catalog: "Catalog", text: str) -> str:
    """Return a text with every known identifier taken out."""
    out, at = [], 0
    for one in catalog.found([text]):
        if one.end > at:
            out += [text[at:max(one.start, at)], MARK if one.start >= at else ""]
            at = one.end
    return "".join(out) + text[at:]


class Redacting(logging.Filter):
    """Takes known identifiers out of log records, their tracebacks included, before a handler writes them."""

    def __init__(self, catalog: "Catalog") -> None:
        super().__init__()
        self._catalog = catalog

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place and let it pass."""
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args = redacted(self._catalog, record.getMessage()), ()
        if record.exc_text:
            record.exc_text, record.exc_info = redacted(self._catalog, record.exc_text), None
        return True


def _judge(catalog: "Catalog", places: tuple[str, ...], *, what: str, reason: str) -> tuple[str, ...]:
    if not places:
        return ()
    told = [*places[:_TOLD], *([f"and {len(places) - _TOLD} more places"] if len(places) > _TOLD else [])]
    if reason:
        if catalog.found([reason]):
            msg = "the reason itself holds what identifies; give one without"
            raise ExitBlocked(msg)
        catalog.release([f"{what}: {place}" for place in told], reason)
        return places
    catalog.audit(BLOCKED, what=what, places="; ".join(told))
    msg = (f"{what} stays here: it holds a patient's or a colleague's {'; '.join(told)}. Take it out and try again; "
           "whoever may can let it out with a reason")  # fmt: skip
    raise ExitBlocked(msg)


def _place(chunk: Chunk, one: Sighting) -> str:
    line = chunk.text.count("\n", 0, one.start) + 1
    where = f", {chunk.unit} {line}" if chunk.unit and "\n" in chunk.text else ""
    return f"{one.kind} in {chunk.place}{where}"


def _portions(found_in: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    part: list[Chunk] = []
    size = 0
    for chunk in (piece for whole in found_in for piece in _pieces(whole)):
        part.append(chunk)
        size += len(chunk.text)
        if size > _AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    if len(chunk.text) <= _AT_ONCE:
        yield chunk
        return
    for number, at in enumerate(range(0, len(chunk.text), _AT_ONCE), 1):
        yield Chunk(f"{chunk.place}, part {number}", chunk.text[at:at + _AT_ONCE + _OVERLAP], chunk.unit)


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Every file, with its name as the receiver sees it."""
    for path in paths:
        if path.is_dir():
            found = sorted(one for one in path.rglob("*") if one.is_file())
            yield from ((one, str(one.relative_to(path.parent))) for one in found)
        elif path.is_file():
            yield path, path.name
        else:
            msg = "there is no such file or folder; give what is to be searched"
            raise WrongUse(msg)
