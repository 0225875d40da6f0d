"""The archive protocol: search studies and series, retrieve a series as a stream, store, delete.

Values returned by a search are immutable and light: UIDs and what a list shows, never a patient's name or ID.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.refused import Refused

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Series:
    """One series, as a search found it.

    Attributes
    ----------
    study_uid, uid
        Study Instance UID (0020,000D), Series Instance UID (0020,000E).
    number, instances
        Series Number (0020,0011) and how many instances the archive holds; None where it does not say.
    """

    study_uid: str
    uid: str
    modality: str = ""
    description: str = ""
    number: int | None = None
    instances: int | None = None
    body_part: str = ""
    archive: "Archive | None" = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str:
        return SeriesList((self,))._repr_html_()


@dataclass(frozen=True)
class Study:
    """One study, as a search found it: Study Instance UID (0020,000D) and what a list shows of it."""

    uid: str
    description: str = ""
    date: datetime.date | None = None
    modalities: tuple[str, ...] = ()
    instances: int | None = None
    archive: "Archive | None" = field(default=None, repr=False, compare=False)

    @cached_property
    def series(self) -> "SeriesList":
        """Series of this study, asked from its archive once."""
        return self.archive.search_series(self.uid) if self.archive else SeriesList()

    def _repr_html_(self) -> str:
        return Studies((self,))._repr_html_()


class Studies(tuple[Study, ...]):
    """Studies, newest first; a table in a notebook."""

    def _repr_html_(self) -> str:
        head = ("date", "modalities", "description", "instances", "study UID")
        return _table(head, ((one.date, ", ".join(one.modalities), one.description, one.instances, one.uid)
                             for one in self))


class SeriesList(tuple[Series, ...]):
    """Series by study and number; a table in a notebook."""

    def _repr_html_(self) -> str:
        head = ("number", "modality", "description", "body part", "instances", "series UID")
        return _table(head, ((one.number, one.modality, one.description, one.body_part, one.instances, one.uid)
                             for one in self))


@dataclass(frozen=True)
class Stored:
    """What became of a store: how many are new, how many were there with the same content, which were refused."""

    stored: int = 0
    already: int = 0
    refused: tuple[Refused, ...] = ()

    def __add__(self, other: "Stored") -> "Stored":
        return Stored(self.stored + other.stored, self.already + other.already, self.refused + other.refused)

    def __str__(self) -> str:
        return f"{self.stored} stored, {self.already} already there, {len(self.refused)} refused"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>{refused_table('SOP Instance UID', self.refused)}"


@runtime_checkable
class Archive(Protocol):
    """An image archive."""

    @property
    def url(self) -> str:
        """Where it is; safe to show, it never holds a password."""

    def search_studies(self, **match: object) -> Studies:
        """Studies that match every word (:data:`.matching.WORDS`); wildcards, date ranges and lists as DICOM has."""

    def search_series(self, study_uid: str = "", **match: object) -> SeriesList:
        """Series that match every word, of one study or of all."""

    def search(self, **match: object) -> Studies:
        """Same as :meth:`search_studies`."""

    def retrieve(self, series: Series) -> "Iterator[Dataset]":
        """Instances of a series, one by one as they arrive; NotFound when the archive has none."""

    def retrieve_files(self, series: Series) -> Iterator[bytes | Path]:
        """The same instances as whole PS3.10 files, unparsed and as stored: their bytes, or where the file is."""

    def store(self, datasets: "Iterable[Dataset]") -> Stored:
        """Keep instances. Those counted are durable; one with a known UID and other content is refused."""

    def delete(self, study_uid: str, series_uid: str = "") -> None:
        """Remove a study or one of its series; NotFound when absent, ArchiveRefused where it is not allowed."""


_FACTORIES: dict[str, Callable[[str], Archive]] = {}
_BUILT_IN = {"folder": ".folder", "dicomweb+http": ".dicomweb", "dicomweb+https": ".dicomweb", "dimse": ".dimse",
             "dimse+tls": ".dimse"}


def register(scheme: str, factory: Callable[[str], Archive]) -> None:
    """Let :func:`open_archive` open URLs of ``scheme`` with ``factory(url)``."""
    _FACTORIES[scheme] = factory


def open_archive(url: str) -> Archive:
    """Archive at ``url``: ``folder:PATH``, ``dicomweb+http(s)://[user:password@]host[:port]/path`` or
    ``dimse(+tls)://[CALLING@]host[:port]/CALLED``, whose options :func:`.dimse.peer.peer_of` lists.

    Raises
    ------
    SettingsError
        A scheme that no archive registered.
    """
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme in _FACTORIES:
        return _FACTORIES[scheme](url)
    if scheme in _BUILT_IN:
        return import_module(_BUILT_IN[scheme], __package__).open_url(url)
    known = ", ".join(f"{one}:" for one in sorted({*_FACTORIES, *_BUILT_IN}))
    given = f"{scheme}:" if scheme else "no scheme"
    raise SettingsError(f"an archive URL begins with one of {known}; got {given}; write for example folder:archive")


def refused_table(what: str, refused: Iterable[Refused]) -> str:
    """HTML of what was refused, "" when nothing was."""
    rows = [(one.what, one.reason) for one in refused]
    return _table((what, "refused because"), rows) if rows else ""


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    body = "".join(_row(cells, "td") for cells in rows)
    return f"<table><thead>{_row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _row(cells: Iterable[object], tag: str) -> str:
    inner = "".join(f"<{tag}>{escape('' if cell is None else str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"
