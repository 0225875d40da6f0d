"""A small DICOM archive of our own making, for what a real one does not do: offer less, fail, keep its own rules."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, evt
from pynetdicom.events import Event

from ailab_kernel.archives.dimse.association import FIND, GET, MOVE, VERIFICATION

PLACE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@contextmanager
def scp(datasets: Iterable[Dataset] = (), *, models: tuple[str, ...] = (FIND, GET, MOVE), aet: str = "SMALL",
        callers: tuple[str, ...] = (), destination: int = 0, lost: int = 0, status: int = 0, strict: bool = False,
        storage: bool = True) -> Iterator[int]:
    """It runs for the block; gives its port on 127.0.0.1.

    ``lost`` instances are listed and never sent, ``status`` answers each C-STORE, ``strict`` refuses relational queries,
    ``callers`` are the only AE titles it knows.
    """
    held = list(datasets)

    def find(event: Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        if strict and asked.QueryRetrieveLevel == "IMAGE" and not asked.SeriesInstanceUID:
            yield 0xA900, None
            return
        for ds in chosen(held, asked):
            yield 0xFF00, answer(ds, asked)

    def send(event: Event) -> Iterator[object]:
        found = chosen(held, event.identifier)[lost:]
        yield len(found)
        yield from ((0xFF00, ds) for ds in found)

    def move(event: Event) -> Iterator[object]:
        yield ("127.0.0.1", destination, {"ae_title": event.move_destination}) if destination else (None, None)
        yield from send(event)

    def take(event: Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        if status == 0:
            held.append(ds)
        return status

    ae = application(aet, models, storage=storage)
    ae.require_calling_aet = list(callers)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[
        (evt.EVT_C_FIND, find), (evt.EVT_C_GET, send), (evt.EVT_C_MOVE, move), (evt.EVT_C_STORE, take),
        (evt.EVT_C_ECHO, lambda _: 0)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        for association in server.active_associations:
            association.abort()


def application(aet: str, models: tuple[str, ...], *, storage: bool) -> AE:
    ae = AE(aet)
    ae.require_called_aet = True
    ae.supported_contexts = [build_context(VERIFICATION), *(build_context(model) for model in models)]
    for context in AllStoragePresentationContexts if storage else ():
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True)
    ae.requested_contexts = AllStoragePresentationContexts[:120]
    return ae


def chosen(held: list[Dataset], asked: Dataset) -> list[Dataset]:
    keys = [(keyword, asked[keyword].value) for keyword in PLACE if keyword in asked and asked[keyword].value]
    return [ds for ds in held if all(str(ds[key].value) in ([want] if isinstance(want, str) else want) for key, want in keys)]


def answer(ds: Dataset, asked: Dataset) -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = asked.QueryRetrieveLevel
    for keyword in (element.keyword for element in asked):
        if keyword in ds:
            found[keyword] = ds[keyword]
    return found
