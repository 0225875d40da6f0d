"""The web's door as an application: STOW-RS, ``/inference``, metrics and the page; errors as RFC 9457 has them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from ailab_kernel.adapter.ledger import Requests, Worklist, figures
from ailab_kernel.adapter.receive.inbox import free_space
from ailab_kernel.adapter.rules import Bearer
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground import errors
from ailab_kernel.ground.errors import AilabError

from . import inference, page, stow
from .desk import Desk, may
from .metrics import MEDIA as METRICS_MEDIA
from .metrics import metrics
from .multipart import Parts, boundary_of

BASE = "/dicom-web"
_PROBLEM = "application/problem+json"
# First that fits.
_STATUS: tuple[tuple[type[AilabError], int], ...] = (
    (errors.ProtocolBroken, 400), (errors.DicomError, 400), (errors.ParameterError, 422), (errors.WrongUse, 409),
    (errors.NotFound, 404), (AilabError, 500),
)  # fmt: skip
_ANSWERS = {stow.JSON: (stow.JSON, "application/json", "*/*", "application/*"), stow.XML: (stow.XML, "application/xml")}


def create_app(desk: Desk) -> FastAPI:
    """Return the application."""
    # No pages of its own: FastAPI's load from a CDN.
    app = FastAPI(title="AI-LAB adapter", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    for path, endpoint, methods in (
        (f"{BASE}/studies", store, ["POST"]), (f"{BASE}/studies/{{study}}", store, ["POST"]),
        ("/inference", infer, ["POST"]), ("/inference/status/{transaction}", inference_status, ["GET"]),
        ("/metrics", read_metrics, ["GET"]), ("/figures", read_figures, ["GET"]),
        ("/again/{work}", again, ["POST"]), ("/", page.show, ["GET"]),
        ("/oauth_callback", page.come_back, ["GET"]), ("/health", health, ["GET"]),
    ):  # fmt: skip
        app.add_api_route(path, endpoint, methods=methods, response_model=None)
    app.add_exception_handler(AilabError, _deliberate)
    app.add_exception_handler(StarletteHTTPException, _refusal)
    app.add_exception_handler(Exception, _mistake)
    return app


def health() -> Response:
    """Whether the door is open; no token is asked for, and it says nothing else."""
    return JSONResponse({"service": "ailab-adapter"})


async def store(request: Request, bearer: Annotated[Bearer, Depends(may("store"))], study: str = "") -> Response:
    """Take instances in (PS3.18 10.5); what was kept before a request broke off stays."""
    desk: Desk = request.app.state.desk
    media = _answer_media(request)
    kind, boundary = boundary_of(request.headers.get("content-type", ""))
    if kind not in ("multipart/related", stow.MEDIA) or "content-encoding" in request.headers:
        raise HTTPException(415, f'multipart/related; type="{stow.MEDIA}"; boundary=... is expected')
    sender = f"{bearer.name}@{request.client.host if request.client else ''}"
    intake = stow.Intake(desk.inbox, sender, check_uid(study) if study else "",
                         instance_bytes=desk.limits.instance_bytes)  # fmt: skip
    body = Parts(boundary, intake) if kind != stow.MEDIA else stow.OnePart(intake)
    try:
        async for piece in _pieces(request, desk.limits.silence_s):
            await run_in_threadpool(body.feed, piece)
        await run_in_threadpool(body.close)
    finally:
        await run_in_threadpool(intake.drop)
    if not intake.outcomes:
        raise HTTPException(400, "the request holds no instance")
    answer = stow.answer(intake.outcomes)
    content = stow.as_xml(answer) if media == stow.XML else JSONResponse(answer).body
    return Response(content, stow.status_code(intake.outcomes), media_type=media)


async def infer(request: Request, bearer: Annotated[Bearer, Depends(may("infer"))]) -> Response:
    """Take a request for inference; it is answered once it is written down."""
    desk: Desk = request.app.state.desk
    body = bytearray()
    async for piece in _pieces(request, desk.limits.silence_s):
        body += piece
        if len(body) > inference.LONGEST:
            raise HTTPException(413, f"a request of more than {inference.LONGEST} bytes")
    asked = inference.read_request(bytes(body), desk.plan, caller=bearer.name)
    if not await run_in_threadpool(Requests(desk.inbox.ledger).put, asked):
        raise HTTPException(409, "there is a request of this transactionID already; ask for its status")
    for study in asked.asked["studies"]:
        await run_in_threadpool(desk.audit, "adapter.asked", by=bearer.name, rule=asked.rule, study=study["study_uid"])
    return JSONResponse({"transactionID": asked.transaction})


def inference_status(request: Request, _: Annotated[Bearer, Depends(may("infer"))], transaction: str) -> Response:
    """Say how a request stands."""
    ledger = request.app.state.desk.inbox.ledger
    asked, worklist = Requests(ledger).get(transaction), Worklist(ledger)
    return JSONResponse(inference.told(asked, [worklist.get(one) for one in asked.work]))


def read_metrics(request: Request, _: Annotated[Bearer, Depends(may("watch"))]) -> Response:
    """Return the metrics for Prometheus."""
    inbox = request.app.state.desk.inbox
    told = metrics(figures(inbox.ledger), free_bytes=free_space(inbox.folder))
    return Response(told, headers={"Content-Type": METRICS_MEDIA})


def read_figures(request: Request, bearer: Annotated[Bearer, Depends(may("watch"))]) -> Response:
    """Return what the page shows."""
    inbox = request.app.state.desk.inbox
    more = {"free_bytes": free_space(inbox.folder), "bearer": bearer.name, "may_again": "again" in bearer.may}
    return JSONResponse(figures(inbox.ledger).told() | more, headers={"Cache-Control": "no-store"})


def again(request: Request, bearer: Annotated[Bearer, Depends(may("again"))], work: str) -> Response:
    """Do once more what failed or is held."""
    desk: Desk = request.app.state.desk
    stands = desk.again(work)
    desk.audit("adapter.again", by=bearer.name, work=work)
    return JSONResponse({"work": stands.id, "state": stands.state})


async def _pieces(request: Request, silence_s: float) -> AsyncIterator[bytes]:
    """Pieces of the body; whoever falls silent is given up."""
    stream = aiter(request.stream())
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), silence_s)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the body stopped coming") from None
        except ClientDisconnect:               # nobody is there to be told
            raise HTTPException(400, "the connection ended in the middle of the body") from None


def _answer_media(request: Request) -> str:
    """JSON or XML, as is asked for (PS3.18 table 10.5.3-3)."""
    asked = [one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "*/*").split(",")]
    for media, names in _ANSWERS.items():
        if set(asked) & {*names}:
            return media
    raise HTTPException(406, f"the answer is {stow.JSON} or {stow.XML}")


async def _deliberate(_: Request, error: Exception) -> Response:
    return _problem(next(status for kind, status in _STATUS if isinstance(error, kind)), str(error))


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return _problem(error.status_code, str(error.detail), error.headers)


async def _mistake(_: Request, error: Exception) -> Response:
    """A mistake of the program: its kind goes out, its text may hold anything and stays here."""
    return _problem(500, f"an error in the program ({type(error).__name__}); its log says more")


def _problem(status: int, detail: str, headers: Any = None) -> Response:
    return JSONResponse({"status": status, "detail": detail}, status, headers, media_type=_PROBLEM)
