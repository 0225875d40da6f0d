"""``dimse://`` archive: C-FIND, C-STORE, C-GET or C-MOVE, and C-ECHO (PS3.4 B, C; PS3.7) of a PACS, through pynetdicom.

Identifiers are judged again with our own matching, so that a server that ignores a key or is looser than PS3.4 C.2.2.2
gives no false hit. Each act is an association of its own: nothing stays open, and the archive can be sent anywhere.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NoReturn

from pydicom import Dataset, dcmread

from ailab_kernel.archives import storing
from ailab_kernel.archives.archive import Series, SeriesList, Stored, Studies
from ailab_kernel.archives.found import (
    absent,
    check_uids,
    series_of,
    sorted_series,
    sorted_studies,
    study_of,
    with_series_words,
)
from ailab_kernel.archives.instances import Instance
from ailab_kernel.archives.matching import Condition, accepted, series_conditions, study_conditions
from ailab_kernel.archives.qido import Attributes
from ailab_kernel.dicom.parsing import read_dataset, read_header
from ailab_kernel.ground.errors import ArchiveError, ArchiveRefused, DicomError

from .association import CONTEXTS, VERIFICATION, associate, check, context, described
from .fetching import fetch, wanted
from .finding import find
from .peer import Peer, peer_of

if TYPE_CHECKING:
    from pynetdicom.association import Association

_STORED = frozenset({0x0000, 0xB000, 0xB006, 0xB007})      # PS3.4 table B.2-1: the warnings are stored as well
_HUNG_UP = "the archive broke the association off over it; see its log"


@dataclass(frozen=True)
class DimseArchive:
    """Archive behind DIMSE."""

    peer: Peer = field(repr=False)
    url: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.peer.url)

    def echo(self) -> None:
        """C-ECHO: whether the archive is there and takes us.

        Raises
        ------
        ArchiveError
            It is not, or does not; the message says why.
        """
        with associate(self.peer, [context(VERIFICATION)]) as association:
            check(self.peer, "echo", association.send_c_echo())

    def search_studies(self, **match: object) -> Studies:
        """Studies that match; see :class:`ailab_kernel.archives.archive.Archive`."""
        words = with_series_words(self, match)
        if words is None:
            return Studies()
        conditions = study_conditions(words)
        found = find(self.peer, conditions, level="studies")
        return sorted_studies(study_of(one, self) for one in found if accepted(conditions, one))

    search = search_studies

    def search_series(self, study_uid: str = "", **match: object) -> SeriesList:
        """Series that match; see :class:`ailab_kernel.archives.archive.Archive`."""
        conditions = series_conditions(match | ({"study": study_uid} if study_uid else {}))
        found = find(self.peer, conditions, level="series")
        return sorted_series(series_of(one, self) for one in found if accepted(conditions, one))

    def retrieve(self, series: Series) -> Iterator[Dataset]:
        """Instances as they arrive, in their stored transfer syntax; the order is the server's."""
        return self._parsed(self.retrieve_files(series))

    def retrieve_files(self, series: Series) -> Iterator[bytes]:
        """PS3.10 files as they arrive: the data sets as the peer encoded them, in their stored transfer syntax."""
        check_uids(series.study_uid, series.uid)
        found = self._instances(study=series.study_uid, series=series.uid)
        if not found:
            raise absent(self, series.study_uid, series.uid)
        return fetch(self.peer, wanted(found, whole=True))

    def store(self, datasets: Iterable[Dataset]) -> Stored:
        """Send instances that the archive lacks; counted are those that the archive confirms and lists.

        Returns
        -------
        Stored
            Known UID with the same content: ``already``. Known UID with other content, UIDs that are none, and what
            the archive itself refuses: ``refused``, each with the reason.
        """
        return storing.store(self, datasets)

    def delete(self, study_uid: str, series_uid: str = "") -> NoReturn:
        """Refused always: DIMSE has no deletion."""
        check_uids(study_uid, series_uid)
        if not self.search_series(study_uid, series=series_uid):
            raise absent(self, study_uid, series_uid)
        raise ArchiveRefused(f"{self.peer.name} does not offer deletion: DIMSE has none; delete in the archive itself")

    def known(self, new: list[Instance]) -> dict[str, storing.Place]:
        """Where these SOP Instance UIDs are: in any series; without relational queries, in their own."""
        try:
            found = self._instances(uids=[one.uid for one in new])
        except ArchiveRefused:
            found = []
        if not found:                          # nothing there, or the server wants the series named
            found = list(chain(*(self._instances(study=study_uid, series=series_uid, uids=[one.uid for one in some])
                                 for (study_uid, series_uid), some in _by_series(new))))
        uids = {one.uid for one in new}
        return {str(one["SOPInstanceUID"]): one for one in found if one.get("SOPInstanceUID") in uids}

    def held(self, places: Mapping[str, storing.Place]) -> dict[str, bytes]:
        """What the archive holds under known UIDs, as PS3.10 files."""
        found = sorted(places.values(), key=_series_key)
        files = chain(*(fetch(self.peer, wanted([dict(one) for one in some], whole=False))
                        for _, some in groupby(found, _series_key)))
        return {str(self._read(data, read_header).SOPInstanceUID): data for data in files}

    def send(self, batch: list[Instance]) -> dict[str, str]:
        """C-STORE new instances, in their own transfer syntax."""
        encoded: list[Dataset] = [dcmread(BytesIO(one.data)) for one in batch]
        pairs = sorted({_pair(ds) for ds in encoded})
        failed: dict[str, str] = {}
        for first in range(0, len(pairs), CONTEXTS):
            some = pairs[first:first + CONTEXTS]
            rest = [ds for ds in encoded if _pair(ds) in some]
            while rest:
                rest = self._send_some(rest, some, failed)
        return failed

    def _send_some(self, datasets: list[Dataset], pairs: list[tuple[str, str]], failed: dict[str, str]
                   ) -> list[Dataset]:
        """Send over one association; answers what is left when the peer breaks it off over an instance."""
        contexts = [context(VERIFICATION), *(context(uid, syntax) for uid, syntax in pairs)]
        with associate(self.peer, contexts) as association:
            for number, ds in enumerate(datasets, 1):
                reason = self._refused(association, ds)
                if reason:
                    failed[str(ds.SOPInstanceUID)] = reason
                if reason == _HUNG_UP:
                    return datasets[number:]
        return []

    def _refused(self, association: "Association", ds: Dataset) -> str:
        """Send one instance; why it was refused, or ""."""
        agreed = {(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts}
        if _pair(ds) not in agreed:
            return (f"the archive does not take {ds.SOPClassUID.name} in {ds.file_meta.TransferSyntaxUID.name}; send "
                    "it in another transfer syntax")
        began = time.monotonic()
        status = association.send_c_store(ds)
        if "Status" in status:
            code = int(status.Status)
            return "" if code in _STORED else f"the archive refused it ({described(code)}); see its log"
        if time.monotonic() - began >= self.peer.timeout_s:
            check(self.peer, "store", status)
        return _HUNG_UP

    def _instances(self, *, study: str = "", series: str = "", uids: list[str] | None = None) -> list[Attributes]:
        named = {"StudyInstanceUID": (study,), "SeriesInstanceUID": (series,), "SOPInstanceUID": tuple(uids or ())}
        conditions = tuple(Condition(keyword, "UI", values) for keyword, values in named.items() if any(values))
        found = find(self.peer, conditions, level="instances")
        return [one for one in found if accepted(conditions, one)]

    def _parsed(self, files: Iterator[bytes]) -> Iterator[Dataset]:
        return (self._read(data, read_dataset) for data in files)

    def _read(self, data: bytes, read: Callable[[bytes], Dataset]) -> Dataset:
        try:
            return read(data)
        except DicomError as error:
            raise ArchiveError(f"{self.peer.name}: {error}") from None


def open_url(url: str) -> DimseArchive:
    """``dimse://...``, see :func:`.peer.peer_of`."""
    return DimseArchive(peer_of(url))


def _by_series(instances: Iterable[Instance]) -> Iterator[tuple[tuple[str, str], list[Instance]]]:
    by_series = attrgetter("study_uid", "series_uid")
    return ((uids, list(some)) for uids, some in groupby(sorted(instances, key=by_series), by_series))


def _series_key(place: storing.Place) -> tuple[str, str]:
    return str(place["StudyInstanceUID"]), str(place["SeriesInstanceUID"])


def _pair(ds: Dataset) -> tuple[str, str]:
    return str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)
