"""DICOMweb in front of whatever archive the lab has: QIDO-RS, WADO-RS and STOW-RS (PS3.18 10.4 to 10.6).

Each request needs its role and leaves its line in the audit trail, with UIDs and counts and nothing else. A search
answers with what a list shows of a study: never a patient's name or ID.
"""

import secrets
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydicom import Dataset
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from ailab_kernel.archives.archive import Series
from ailab_kernel.archives.found import check_uids
from ailab_kernel.archives.instances import identity
from ailab_kernel.archives.multipart import parts
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import AilabError, ArchiveError, DicomError, NotFound, WrongUse
from ailab_kernel.privacy.exits import learn

from . import bodies, dicom_json, patients
from .bodies import Spooled, spooled
from .guard import Call, Deleter, Retriever, Searcher, Storer
from .instances import file_of, multipart, places

router = APIRouter(prefix="/dicom-web")
_MOST = 1_000_000
_NAMED = 20                                    # UIDs in one audit line

Uid = Annotated[str, InPath(pattern=r"^[0-9.]{1,64}$")]
Limit = Annotated[int, Query(ge=0, le=_MOST)]


class Files(StreamingResponse):
    """PS3.10 files as ``multipart/related``; a reader who leaves lets go of the archive at once."""

    def __init__(self, files: Iterator[Any], source: Iterator[Any]) -> None:
        boundary = secrets.token_hex(16)       # of this answer only: no stored image can hold it
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self._pieces, self._source = multipart(files, boundary), source
        super().__init__(self._pieces, headers={"Content-Type": kind})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the files; whatever ends that, the retrieval behind it ends too, and here: not when memory is swept."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with CancelScope(shield=True):
                await run_in_threadpool(self._end)

    def _end(self) -> None:
        for one in (self._pieces, self._source):
            if isinstance(one, Generator):
                one.close()


@router.get("/studies")
def search_studies(call: Searcher, *, request: Request, limit: Limit = _MOST, offset: Limit = 0) -> Response:
    """QIDO-RS: studies."""
    found = call.desk.archive.search_studies(**dicom_json.words("studies", request.query_params.multi_items()))
    return _found(call, "studies", dicom_json.answer(found[offset:offset + limit], dicom_json.STUDY))


@router.get("/series")
def search_series(call: Searcher, *, request: Request, limit: Limit = _MOST, offset: Limit = 0) -> Response:
    """QIDO-RS: series of all studies."""
    found = call.desk.archive.search_series("", **dicom_json.words("series", request.query_params.multi_items()))
    return _found(call, "series", dicom_json.answer(found[offset:offset + limit], dicom_json.SERIES))


@router.get("/studies/{study}/series")
def search_series_of(
    call: Searcher, study: Uid, *, request: Request, limit: Limit = _MOST, offset: Limit = 0
) -> Response:
    """QIDO-RS: series of a study."""
    found = call.desk.archive.search_series(study, **dicom_json.words("series", request.query_params.multi_items()))
    return _found(call, "series", dicom_json.answer(found[offset:offset + limit], dicom_json.SERIES))


@router.get("/instances")
def search_instances(call: Searcher, *, request: Request, limit: Limit = _MOST, offset: Limit = 0) -> Response:
    """QIDO-RS: where the named SOP Instance UIDs are."""
    asked: dict[str, Any] = dicom_json.words("instances", request.query_params.multi_items())
    uids = asked.get("SOPInstanceUID", [])
    if not any(uids):
        msg = "instances are searched by SOPInstanceUID; name them, or search series"
        raise WrongUse(msg)
    first = {key: asked.get(keyword, [""])[0] for key, keyword in
             (("study_uid", "StudyInstanceUID"), ("series_uid", "SeriesInstanceUID"))}  # fmt: skip
    found = places(call.desk.archive, uids, **first)
    return _found(call, "instances", dicom_json.answer(found[offset:offset + limit], dicom_json.INSTANCE))


@router.get("/studies/{study}/series/{series}")
def retrieve_series(call: Retriever, study: Uid, series: Uid) -> Response:
    """WADO-RS: a series as it is stored, instance by instance."""
    check_uids(study, series)
    source = iter(call.desk.archive.retrieve_files(Series(study, series)))
    files = _shown(call, source)
    first = next(files, None)                  # what is not there is said before the answer begins
    if first is None:
        msg = f"no series {series}; search the archive again"
        raise NotFound(msg)
    learn(call.catalog, first)
    call.catalog.audit("service.archive-retrieve", study=study, series=series)
    return Files(_accounted(call, chain([first], files), study=study, series=series), source)


@router.get("/studies/{study}/series/{series}/instances/{instance}")
def retrieve_instance(call: Retriever, *, study: Uid, series: Uid, instance: Uid) -> Response:
    """WADO-RS: one instance as it is stored."""
    file = next(_shown(call, iter([file_of(call.desk.archive, study_uid=study, series_uid=series, uid=instance)])))
    learn(call.catalog, file)
    call.catalog.audit("service.archive-retrieve", study=study, series=series, instance=instance)
    return Files(_accounted(call, iter([file]), study=study, series=series), iter(()))


@router.post("/studies")
async def store(call: Storer, request: Request) -> Response:
    """STOW-RS: instances as PS3.10 files; a known UID with the same content is confirmed again."""
    async with spooled(request, call.desk.spool, limit=bodies.STOW_BYTES) as spool:
        return await run_in_threadpool(_store, call, spool, request.headers.get("Content-Type", ""))


@router.delete("/studies/{study}")
def delete_study(call: Deleter, study: Uid) -> Response:
    """Remove a study."""
    return _delete(call, study, "")


@router.delete("/studies/{study}/series/{series}")
def delete_series(call: Deleter, study: Uid, series: Uid) -> Response:
    """Remove a series."""
    return _delete(call, study, series)


def _delete(call: Call, study: str, series: str) -> Response:
    call.desk.archive.delete(study, series)
    call.catalog.audit("service.archive-delete", study=study, series=series)
    return Response(status_code=204)


def _found(call: Call, level: str, rows: list[dict[str, Any]]) -> Response:
    call.catalog.audit("service.archive-search", level=level, found=str(len(rows)))
    return JSONResponse(rows, media_type=dicom_json.MEDIA)


def _shown(call: Call, files: Iterator[Any]) -> Iterator[Any]:
    return patients.without(files) if call.desk.phantoms_only else files


def _accounted(call: Call, files: Iterator[Any], **where: str) -> Iterator[Any]:
    """Say that everything was sent, or that the archive broke off; of a reader who left only the beginning stands."""
    number = 0
    try:
        for number, file in enumerate(files, 1):  # noqa: B007 - counted for the line below
            yield file
    except AilabError:
        call.catalog.audit("service.archive-broken-off", **where, instances=str(number))
        raise
    call.catalog.audit("service.archive-retrieved", **where, instances=str(number))


def _store(call: Call, spool: Spooled, content_type: str) -> Response:
    sent: dict[str, str] = {}
    series: set[str] = set()
    unread = 0

    def _datasets() -> Iterator[Dataset]:
        nonlocal unread
        for body in _bodies(spool, content_type):
            try:
                ds = read_dataset(body)
                _, series_uid, uid = identity(ds)
            except DicomError:
                unread += 1
                continue
            if call.desk.phantoms_only:
                patients.check(ds)
            sent[uid] = str(ds.SOPClassUID)
            series.add(series_uid)
            yield ds

    done = call.desk.archive.store(_datasets())
    failed = len(done.refused) + unread
    call.catalog.audit(
        "service.archive-store", series=",".join(sorted(series)[:_NAMED]), stored=str(done.stored),
        already=str(done.already), refused=str(failed),
    )  # fmt: skip
    status = 200 if not failed else 202 if done.stored + done.already else 409
    return JSONResponse(dicom_json.stored(sent, done.refused, unread), status, media_type=dicom_json.MEDIA)


def _bodies(spool: Spooled, content_type: str) -> Iterator[bytes]:
    """Files in the message; one that is none, or was cut off, is the sender's mistake and not the archive's."""
    with spool.path.open("rb") as file:
        found = parts(file.read, content_type)
        while True:
            try:
                body = next(found, None)
            except ArchiveError:
                msg = "the body is no whole multipart/related message of PS3.10 files (PS3.18 10.5.1); send it again"
                raise WrongUse(msg) from None
            if body is None:
                return
            yield body
