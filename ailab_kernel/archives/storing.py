"""Store into an archive on the network: what it holds is compared first, and only what it then lists counts as stored.

Neither DICOMweb nor DIMSE has "store only if new": before a store, the archive is asked for the UIDs, and what it holds
under them is compared. Two clients that store one new UID with different content in the same moment are therefore told
apart by the server's own policy, not here.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from pydicom import Dataset

from ailab_kernel.ground.errors import DicomError

from .archive import Refused, Stored
from .instances import Instance, instance, same_content, uid_of

Place = Mapping[str, str | tuple[str, ...]]

_BATCH, _BATCH_BYTES = 50, 64 << 20            # of one request or association
_INDEXING_S = (0.0, 0.5, 1.5)                  # when a search looks for what was stored, each after the one before
_CONFLICT = "this SOP Instance UID is already stored with other content; the archive keeps what it has"
_UNLISTED = "the archive took it but does not list it; see its log, and store it again"


class Remote(Protocol):
    """What :func:`store` needs of an archive on the network."""

    def known(self, new: list[Instance]) -> dict[str, Place]:
        """Where the archive has these SOP Instance UIDs, in whatever series; by UID."""

    def held(self, places: Mapping[str, Place]) -> dict[str, bytes]:
        """PS3.10 files under known UIDs."""

    def send(self, batch: list[Instance]) -> dict[str, str]:
        """Send new instances; answers why some were refused, by SOP Instance UID."""


def store(remote: Remote, datasets: Iterable[Dataset]) -> Stored:
    """Send instances that the archive lacks; see :meth:`.archive.Archive.store`."""
    total = Stored()
    for batch, refused in _batches(datasets):
        total += _store_batch(remote, batch) + Stored(refused=refused)
    return total


def _store_batch(remote: Remote, batch: list[Instance]) -> Stored:
    held = remote.held(remote.known(batch)) if batch else {}
    fresh: dict[str, Instance] = {}
    total = Stored()
    for one in batch:
        if one.uid in held:
            total += _compared(one, held[one.uid])
        elif one.uid in fresh:
            total += _compared(one, fresh[one.uid].data)
        else:
            fresh[one.uid] = one
    return total + _sent(remote, list(fresh.values()))


def _sent(remote: Remote, batch: list[Instance]) -> Stored:
    """What became of each new instance. A response alone is not trusted: Orthanc's confirms what its filter drops."""
    if not batch:
        return Stored()
    failed = remote.send(batch)
    missing = _unlisted(remote, [one for one in batch if one.uid not in failed])
    failed |= {one.uid: _UNLISTED for one in missing}
    return Stored(stored=len(batch) - len(failed),
                  refused=tuple(Refused(uid, reason) for uid, reason in failed.items()))


def _unlisted(remote: Remote, batch: list[Instance]) -> list[Instance]:
    """Those that the archive does not list, after the time that some take to index."""
    for pause_s in _INDEXING_S:
        if not batch:
            break
        time.sleep(pause_s)
        known = remote.known(batch)
        batch = [one for one in batch if one.uid not in known]
    return batch


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


def _compared(new: Instance, existing: bytes) -> Stored:
    if same_content(new.data, existing):
        return Stored(already=1)
    return Stored(refused=(Refused(new.uid, _CONFLICT),))
