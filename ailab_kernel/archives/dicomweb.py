"""``dicomweb+http(s)://`` archive: QIDO-RS, WADO-RS and STOW-RS (PS3.18) of a PACS, through dicomweb-client.

QIDO answers are judged again with our own matching, so that a server that ignores a key or is looser than PS3.4
C.2.2.2 gives no false hit. A retrieval reads the parts of the answer as they arrive (:mod:`.multipart`).
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import ArchiveError, ArchiveRefused, NotFound

from . import qido, storing
from .archive import Series, SeriesList, Stored, Studies
from .found import (
    absent,
    check_uids,
    series_of,
    sorted_series,
    sorted_studies,
    study_of,
    with_series_words,
)
from .instances import Instance, is_file
from .matching import Condition, accepted, series_conditions, study_conditions
from .multipart import parts
from .server import Server, answers, server_of

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient
    from requests import Response, Session

_COMPARED_AT_ONCE = 4
_SOME_REFUSED = (400, 409, 413, 415)           # about what was sent, not about who sent it


@dataclass(frozen=True)
class DicomwebArchive:
    """Archive behind DICOMweb. Sent to another process, it opens its own connection there."""

    server: Server = field(repr=False)
    url: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", f"dicomweb+{self.server.base}")

    def __reduce__(self) -> tuple:
        return DicomwebArchive, (self.server,)

    def search_studies(self, **match: object) -> Studies:
        """Studies that match; see :class:`.archive.Archive`."""
        words = with_series_words(self, match)
        if words is None:
            return Studies()
        conditions = study_conditions(words)
        found = self._find("studies", conditions)
        return sorted_studies(study_of(one, self) for one in found if accepted(conditions, one))

    search = search_studies

    def search_series(self, study_uid: str = "", **match: object) -> SeriesList:
        """Series that match; see :class:`.archive.Archive`."""
        conditions = series_conditions(match | ({"study": study_uid} if study_uid else {}))
        found = self._find("series", conditions)
        return sorted_series(series_of(one, self) for one in found if accepted(conditions, one))

    def retrieve(self, series: Series) -> Iterator[Dataset]:
        """Instances as they arrive, in their stored transfer syntax; the order is the server's."""
        return self._parsed(self.retrieve_files(series))

    def retrieve_files(self, series: Series) -> Iterator[bytes]:
        """PS3.10 files as they arrive, as stored: nothing is parsed, nothing transcoded; the order is the server's."""
        check_uids(series.study_uid, series.uid)
        missing = str(absent(self, series.study_uid, series.uid))
        return self._files(f"studies/{series.study_uid}/series/{series.uid}", missing)

    def store(self, datasets: Iterable[Dataset]) -> Stored:
        """Send instances that the archive lacks; counted are those that the archive confirms.

        Returns
        -------
        Stored
            Known UID with the same content: ``already``. Known UID with other content, UIDs that are none, and what
            the archive itself refuses: ``refused``, each with the reason.
        """
        return storing.store(self, datasets)

    def delete(self, study_uid: str, series_uid: str = "") -> None:
        """Remove a study or one series, where the server offers it (PS3.18 does not ask it to)."""
        check_uids(study_uid, series_uid)
        if not self.search_series(study_uid, series=series_uid):
            raise absent(self, study_uid, series_uid)
        unoffered = f"{self.server.host} does not offer deletion over DICOMweb; delete in the archive itself"
        with answers(self.server, "delete", missing=unoffered, missing_is=ArchiveRefused):
            if series_uid:
                self._client.delete_series(study_uid, series_uid)
            else:
                self._client.delete_study(study_uid)

    def known(self, new: list[Instance]) -> dict[str, storing.Place]:
        """Where these SOP Instance UIDs are, in whatever series."""
        condition = Condition("SOPInstanceUID", "UI", tuple(one.uid for one in new))
        found = self._find("instances", (condition,))
        return {str(one["SOPInstanceUID"]): one for one in found if accepted((condition,), one)}

    def held(self, places: Mapping[str, storing.Place]) -> dict[str, bytes]:
        """What the archive holds under known UIDs, as PS3.10 files; a few at a time."""
        with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
            return dict(zip(places, pool.map(self._fetch, places.values()), strict=True))

    def send(self, batch: list[Instance]) -> dict[str, str]:
        """Store new instances; a request that is refused as a whole is repeated one by one, to set aside the cause."""
        with answers(self.server, "store", missing=f"{self.server.base} takes no STOW-RS; check the path in its URL"):
            answer = _stow(self._sender, batch)
        if answer is not None:                 # PS3.18 annex I.2
            return {str(item.ReferencedSOPInstanceUID): "the archive refused it (failure reason "
                    f"{item.FailureReason:#06x}, PS3.18 annex I.2.2); see its log"
                    for item in answer.get("FailedSOPSequence") or ()}
        if len(batch) == 1:
            return {batch[0].uid: "the archive refused it without a reason; see its log"}
        return {uid: reason for one in batch for uid, reason in self.send([one]).items()}

    @cached_property
    def _session(self) -> "Session":
        return self.server.session()

    @cached_property
    def _client(self) -> "DICOMwebClient":
        return self.server.connect(self._session)

    @cached_property
    def _sender(self) -> "DICOMwebClient":
        """For STOW-RS, sent once: dicomweb-client would repeat a large request without its body."""
        return self.server.connect(self._session, attempts=1)

    def _find(self, level: str, conditions: Iterable[Condition]) -> list[qido.Attributes]:
        return qido.find(self._client, conditions, server=self.server, level=level)

    def _files(self, path: str, missing: str) -> Iterator[bytes]:
        with answers(self.server, "retrieve", missing=missing):
            response = self.server.get(self._session, path)
        return self._bodies(response, missing)

    def _bodies(self, response: "Response", missing: str) -> Iterator[bytes]:
        packed = response.headers.get("Content-Encoding", "identity") != "identity"
        read = partial(response.raw.read, decode_content=packed)
        bodies = parts(read, response.headers.get("Content-Type", ""))
        number = 0
        with closing(response):
            while True:
                with answers(self.server, "retrieve"):
                    body = next(bodies, None)
                if body is None:
                    break
                number += 1
                if not is_file(body):
                    raise ArchiveError(f"{self.server.host}: part {number} of the answer is no DICOM file "
                                       f"({len(body)} bytes without the DICM prefix); see the archive's log")
                yield body
        if not number:
            raise NotFound(missing)

    def _parsed(self, files: Iterable[bytes]) -> Iterator[Dataset]:
        for data in files:
            with answers(self.server, "retrieve"):
                ds = read_dataset(data)
            yield ds

    def _fetch(self, place: storing.Place) -> bytes:
        study_uid, series_uid, uid = (str(place[keyword]) for keyword in qido.IDENTITY)
        missing = f"instance {uid} is no longer in {self.url}; store it again"
        return next(self._files(f"studies/{study_uid}/series/{series_uid}/instances/{uid}", missing))


def open_url(url: str) -> DicomwebArchive:
    """``dicomweb+http(s)://...``, see :func:`.server.server_of`."""
    return DicomwebArchive(server_of(url))


def _stow(client: "DICOMwebClient", batch: list[Instance]) -> Dataset | None:
    """STOW-RS response; None where the request was refused as a whole and nothing says which instance was why."""
    import requests

    try:
        return client.store_instances([dcmread(BytesIO(one.data)) for one in batch])
    except requests.HTTPError as error:
        if error.response is None or error.response.status_code not in _SOME_REFUSED:
            raise
        try:
            answer = Dataset.from_json(error.response.json())
        except (ValueError, TypeError, AttributeError):
            return None
        return answer if "FailedSOPSequence" in answer else None
