"""``dicomweb+http(s)://`` archive: QIDO-RS, WADO-RS and STOW-RS (PS3.18) of a PACS, through dicomweb-client.

QIDO answers are judged again with our own matching, so that a server that ignores a key or is looser than PS3.4
C.2.2.2 gives no false hit. DICOMweb has no "store only if new": before a store, the archive is asked for the UIDs, and
what it holds under them is compared. Two clients that store one new UID with different content in the same moment are
therefore told apart by the server's own policy, not here.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread

from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ArchiveRefused, DicomError, NotFound

from . import qido
from .archive import Refused, Series, SeriesList, Stored, Studies
from .found import check_uids, series_of, sorted_series, sorted_studies, study_of, with_series_words
from .instances import Instance, encode, instance, same_content, uid_of
from .matching import Condition, accepted, series_conditions, study_conditions
from .server import Server, answers, server_of

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

_AS_STORED = (("application/dicom", "*"),)     # any transfer syntax: nothing is transcoded on the way
_BATCH, _BATCH_BYTES = 50, 64 << 20            # of one STOW request
_COMPARED_AT_ONCE = 4
_INDEXING_S = (0.0, 0.5, 1.5)                  # when a search looks for what was stored, each after the one before
_SOME_REFUSED = (400, 409, 413, 415)           # about what was sent, not about who sent it
_CONFLICT = "this SOP Instance UID is already stored with other content; the archive keeps what it has"


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
        missing = f"no series {series.uid} in {self.url}; search the archive again"
        with answers(self.server, "retrieve", missing=missing), guarded("the answer"):
            stream = self._client.iter_series(series.study_uid, series.uid, media_types=_AS_STORED)
        return self._stream(stream, missing)

    def store(self, datasets: Iterable[Dataset]) -> Stored:
        """Send instances that the archive lacks; counted are those that the archive confirms.

        Returns
        -------
        Stored
            Known UID with the same content: ``already``. Known UID with other content, UIDs that are none, and what
            the archive itself refuses: ``refused``, each with the reason.
        """
        total = Stored()
        for batch, refused in _batches(datasets):
            total += self._store_batch(batch) + Stored(refused=refused)
        return total

    def delete(self, study_uid: str, series_uid: str = "") -> None:
        """Remove a study or one series, where the server offers it (PS3.18 does not ask it to)."""
        check_uids(study_uid, series_uid)
        if not self.search_series(study_uid, series=series_uid):
            raise NotFound(f"no {'series ' + series_uid if series_uid else 'study ' + study_uid} in {self.url}; "
                           "search the archive again")
        absent = f"{self.server.host} does not offer deletion over DICOMweb; delete in the archive itself"
        with answers(self.server, "delete", missing=absent, missing_is=ArchiveRefused):
            if series_uid:
                self._client.delete_series(study_uid, series_uid)
            else:
                self._client.delete_study(study_uid)

    @cached_property
    def _client(self) -> "DICOMwebClient":
        return self.server.connect()

    @cached_property
    def _sender(self) -> "DICOMwebClient":
        """For STOW-RS, sent once: dicomweb-client would repeat a large request without its body."""
        return self.server.connect(attempts=1)

    def _find(self, level: str, conditions: Iterable[Condition]) -> list[qido.Attributes]:
        return qido.find(self._client, conditions, server=self.server, level=level)

    def _stream(self, stream: Iterator[Dataset], missing: str) -> Iterator[Dataset]:
        empty = True
        while True:
            with answers(self.server, "retrieve"), guarded("an instance as it arrived"):
                ds = next(stream, None)
            if ds is None:
                break
            empty = False
            yield ds
        if empty:
            raise NotFound(missing)

    def _store_batch(self, batch: list[Instance]) -> Stored:
        held = self._held(self._known([one.uid for one in batch]))
        fresh: dict[str, Instance] = {}
        total = Stored()
        for one in batch:
            if one.uid in held:
                total += _compared(one, held[one.uid])
            elif one.uid in fresh:
                total += _compared(one, fresh[one.uid].data)
            else:
                fresh[one.uid] = one
        return total + self._send(list(fresh.values()))

    def _send(self, batch: list[Instance]) -> Stored:
        """Store new instances; a request that is refused as a whole is repeated one by one, to set aside the cause."""
        if not batch:
            return Stored()
        with answers(self.server, "store", missing=f"{self.server.base} takes no STOW-RS; check the path in its URL"):
            answer = _stow(self._sender, batch)
        if answer is not None:
            return self._confirmed([one.uid for one in batch], answer)
        if len(batch) == 1:
            return Stored(refused=(Refused(batch[0].uid, "the archive refused it without a reason; see its log"),))
        return sum((self._send([one]) for one in batch), Stored())

    def _confirmed(self, uids: list[str], answer: Dataset) -> Stored:
        """What became of each instance: the STOW-RS response (PS3.18 annex I.2) says which failed, a search which are
        there. A response alone is not trusted: Orthanc's names instances that its filter threw away as stored.
        """
        failed = {str(item.ReferencedSOPInstanceUID): "the archive refused it (failure reason "
                  f"{item.FailureReason:#06x}, PS3.18 annex I.2.2); see its log"
                  for item in answer.get("FailedSOPSequence") or ()}
        missing = self._unlisted([uid for uid in uids if uid not in failed])
        failed |= dict.fromkeys(missing, "the archive took it but does not list it; see its log, and store it again")
        return Stored(stored=len(uids) - len(failed),
                      refused=tuple(Refused(uid, reason) for uid, reason in failed.items()))

    def _unlisted(self, uids: list[str]) -> list[str]:
        """Those that the archive does not list, after the time that some take to index."""
        for pause_s in _INDEXING_S:
            time.sleep(pause_s)
            known = self._known(uids)
            uids = [uid for uid in uids if uid not in known]
            if not uids:
                break
        return uids

    def _known(self, uids: list[str]) -> dict[str, qido.Attributes]:
        """Where these SOP Instance UIDs are, in whatever series."""
        if not uids:
            return {}
        condition = Condition("SOPInstanceUID", "UI", tuple(uids))
        found = self._find("instances", (condition,))
        return {str(one["SOPInstanceUID"]): one for one in found if accepted((condition,), one)}

    def _held(self, known: dict[str, qido.Attributes]) -> dict[str, bytes]:
        """What the archive holds under known UIDs, as PS3.10 files; a few at a time."""
        with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
            return dict(zip(known, pool.map(self._fetch, known.values()), strict=True))

    def _fetch(self, place: qido.Attributes) -> bytes:
        with answers(self.server, "compare"), guarded("an instance as it arrived"):
            study_uid, series_uid, uid = (str(place[keyword]) for keyword in qido.IDENTITY)
            return encode(self._client.retrieve_instance(study_uid, series_uid, uid, media_types=_AS_STORED))


def open_url(url: str) -> DicomwebArchive:
    """``dicomweb+http(s)://...``, see :func:`.server.server_of`."""
    return DicomwebArchive(server_of(url))


def _batches(datasets: Iterable[Dataset]) -> Iterator[tuple[list[Instance], tuple[Refused, ...]]]:
    """Instances by the request, with those that cannot be sent at all."""
    batch: list[Instance] = []
    refused: list[Refused] = []
    for ds in datasets:
        try:
            batch.append(instance(ds))
        except DicomError as error:
            refused.append(Refused(uid_of(ds), str(error)))
        if len(batch) >= _BATCH or sum(len(one.data) for one in batch) >= _BATCH_BYTES:
            yield batch, tuple(refused)
            batch, refused = [], []
    if batch or refused:
        yield batch, tuple(refused)


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


def _compared(new: Instance, existing: bytes) -> Stored:
    if same_content(new.data, existing):
        return Stored(already=1)
    return Stored(refused=(Refused(new.uid, _CONFLICT),))
