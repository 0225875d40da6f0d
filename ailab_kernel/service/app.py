"""The service as an application: its routes, and how errors of the house travel to the other side by name."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from ailab_kernel.ground import errors
from ailab_kernel.ground.errors import AilabError

from . import PREFIX, archive_routes, catalog_routes
from .bodies import misfit
from .guard import Desk

# First that fits; the class itself travels by name, so that the other side raises the same.
_STATUS: tuple[tuple[type[AilabError], int], ...] = (
    (errors.WrongUse, 400),
    (errors.NotFound, 404),
    (errors.ArchiveRefused, 403),
    (errors.SealBroken, 409),
    (errors.ExitBlocked, 409),
    (errors.ArchiveUnreachable, 502),
    (AilabError, 500),
)
_REFUSED = frozenset({400, 401, 403, 413})


def create_app(desk: Desk, *, prefix: str = PREFIX, lifespan: Any = None) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    desk
        Everything that it holds.
    prefix
        Where the hub's proxy puts it (``JUPYTERHUB_SERVICE_PREFIX``).
    lifespan
        Asynchronous context manager of the application, entered as it starts and left as it ends.
    """
    # No pages of its own: FastAPI's load from a CDN.
    app = FastAPI(title="AI-LAB", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.desk = desk
    path = "/" + prefix.strip("/") if prefix.strip("/") else ""
    app.add_api_route(f"{path}/health", health, methods=["GET"])
    for room in (catalog_routes, archive_routes):
        app.include_router(room.router, prefix=path)
    app.add_exception_handler(AilabError, _deliberate)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _misfit)
    app.add_exception_handler(Exception, _mistake)
    return app


def health() -> Response:
    """Whether the service runs; the only route that asks for no token, and it says nothing else."""
    return JSONResponse({"service": "ailab"})


async def _deliberate(request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return await _answer(request, status, error=type(error).__name__, message=str(error))


async def _refusal(request: Request, error: Exception) -> Response:
    """A no of the guard, or a path that there is not."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = str(error.detail) if isinstance(error, HTTPException) else ""
    return await _answer(request, status, error="CatalogError", message=message)


async def _misfit(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else [{"loc": (), "msg": "see the log"}]
    return await _answer(request, 400, error="WrongUse", message=misfit(found))


async def _mistake(_: Request, error: Exception) -> Response:
    """A mistake of the program: its kind goes out, its text may hold anything and stays here."""
    message = f"the service met an error in the program ({type(error).__name__}); its log says more: tell its makers"
    return JSONResponse({"error": "CatalogError", "message": message}, 500)


async def _answer(request: Request, status: int, *, error: str, message: str) -> Response:
    if status in _REFUSED:
        await run_in_threadpool(_note, request, status)
    return JSONResponse({"error": error, "message": message}, status)


def _note(request: Request, status: int) -> None:
    caller = getattr(request.state, "caller", None)
    route = getattr(request.scope.get("route"), "path", "(no route)")
    act = str(getattr(request.state, "act", ""))
    request.app.state.desk.refusals.note(caller.user if caller else "", act, route=route, status=status)
