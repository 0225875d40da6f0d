"""An archive whose every use stands in the audit trail (PS3.15 A.5.3): for a lab without a trusted process before it.

Behind the hub the service writes these lines, in the name of whoever asked.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ailab_kernel.ground.errors import AilabError

from .archive import Archive, Series, SeriesList, Stored, Studies

if TYPE_CHECKING:
    from pydicom import Dataset

Item = TypeVar("Item")


class AuditedArchive:
    """Does what the archive behind it does, and writes it down: UIDs and numbers, never what was searched for.

    Parameters
    ----------
    archive
        Any archive; what only some archives can (``known``, ``reindex``) is passed on as it is.
    audit
        ``catalog.audit``.
    """

    def __init__(self, archive: Archive, audit: Callable[..., None]) -> None:
        self._archive, self._audit = archive, audit

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"_archive", "_audit"}:
            raise AttributeError(name)
        return getattr(self._archive, name)

    @property
    def url(self) -> str:
        """Where it is; safe to show."""
        return self._archive.url

    def search_studies(self, **match: object) -> Studies:
        """Studies that match every word."""
        return self._found("studies", self._archive.search_studies(**match))

    def search(self, **match: object) -> Studies:
        """Same as :meth:`search_studies`."""
        return self._found("studies", self._archive.search(**match))

    def search_series(self, study_uid: str = "", **match: object) -> SeriesList:
        """Series that match every word, of one study or of all."""
        return self._found("series", self._archive.search_series(study_uid, **match))

    def retrieve(self, series: Series) -> "Iterator[Dataset]":
        """Instances of a series, one by one."""
        return self._told(series, self._archive.retrieve(series))

    def retrieve_files(self, series: Series) -> Iterator[bytes | Path]:
        """The same instances as whole PS3.10 files."""
        return self._told(series, self._archive.retrieve_files(series))

    def store(self, datasets: "Iterable[Dataset]") -> Stored:
        """Keep instances."""
        studies: dict[str, None] = {}

        def _noted() -> "Iterator[Dataset]":
            for ds in datasets:
                studies[str(ds.get("StudyInstanceUID", ""))] = None
                yield ds

        done = self._archive.store(_noted())
        self._audit("archive-store", study=",".join(list(studies)[:20]), stored=str(done.stored),
                    already=str(done.already), refused=str(len(done.refused)))  # fmt: skip
        return done

    def delete(self, study_uid: str, series_uid: str = "") -> None:
        """Remove a study or one of its series."""
        self._archive.delete(study_uid, series_uid)
        self._audit("archive-delete", study=study_uid, series=series_uid)

    def _found(self, level: str, found: Any) -> Any:
        self._audit("archive-search", level=level, found=str(len(found)))
        return found

    def _told(self, series: Series, items: Iterator[Item]) -> Iterator[Item]:
        """Say that a transfer begins, and how it ends; one that nobody reads to its end was only begun."""
        where = {"study": series.study_uid, "series": series.uid}
        self._audit("archive-retrieve", **where)
        number = 0
        try:
            for number, item in enumerate(items, 1):  # noqa: B007 - counted for the line below
                yield item
        except AilabError:
            self._audit("archive-broken-off", **where, instances=str(number))
            raise
        self._audit("archive-retrieved", **where, instances=str(number))
