"""A shelf of models behind HTTP (``ailab models serve``): read by whoever has a token, written to by trusted labs.

What is written is checked before it is there: an object is what its digest says, an index is signed by a lab that
whoever serves trusts, and newer than the one that it replaces.
"""

import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from ailab_kernel.ground.errors import AilabError, NotFound, SealBroken, SettingsError
from ailab_kernel.ground.store import sync_folder
from ailab_kernel.models.sharing import Trusted, check_index
from ailab_kernel.models.sharing.shelf import INDEX, INDEX_BYTES, LABS, FolderShelf

from .bodies import OBJECT_BYTES, spooled

READ, WRITE = "read", "write"
_STATUS: tuple[tuple[type[AilabError], int], ...] = ((NotFound, 404), (SealBroken, 409), (AilabError, 400))
Folder = Annotated[str, InPath(pattern=r"^[0-9a-f]{2}$")]
Rest = Annotated[str, InPath(pattern=r"^[0-9a-f]{62}$")]
Fingerprint = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]


@dataclass(frozen=True)
class ShelfDesk:
    """What the shelf's door works with.

    Attributes
    ----------
    folder
        The shelf.
    trusted
        Labs that may write, each its own index.
    tokens
        What each token opens: ``read`` or ``write``; without any for reading everybody who gets here reads.
    """

    folder: Path
    trusted: tuple[Trusted, ...]
    tokens: Mapping[bytes, str] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def check(self, request: Request, act: str) -> None:
        """Raise 401 or 403 unless the request's token opens this."""
        known = {sha256(token).digest(): opens for token, opens in self.tokens.items()}
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        opens = known.get(sha256(token.strip().encode()).digest()) if scheme.lower() == "bearer" else None
        if act == READ and READ not in self.tokens.values():
            return
        if opens is None:
            raise HTTPException(401, "a token is expected (?token_env=NAME in the shelf's URL)",
                                {"WWW-Authenticate": "Bearer"})  # fmt: skip
        if act == WRITE and opens != WRITE:
            raise HTTPException(403, "this token only reads; ask whoever serves the shelf for one that writes")


def create_shelf(desk: ShelfDesk) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="AI-LAB models", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    for path, endpoint, methods in (
        (f"/{LABS}", labs, ["GET", "HEAD"]), (f"/{{lab}}/{INDEX}", read_index, ["GET", "HEAD"]),
        (f"/{{lab}}/{INDEX}", write_index, ["PUT"]), ("/objects/{start}/{rest}", read_object, ["GET", "HEAD"]),
        ("/objects/{start}/{rest}", write_object, ["PUT"]),
    ):  # fmt: skip
        app.add_api_route(path, endpoint, methods=methods, response_model=None)
    app.add_exception_handler(AilabError, _deliberate)
    app.add_exception_handler(StarletteHTTPException, _refusal)
    return app


def labs(request: Request) -> Response:
    """Which labs have something here, as they say themselves."""
    return _file(request, LABS)


def read_index(request: Request, lab: Fingerprint) -> Response:
    """What one lab offers."""
    return _file(request, f"{lab}/{INDEX}")


def read_object(request: Request, start: Folder, rest: Rest) -> Response:
    """A file by its digest."""
    return _file(request, f"objects/{start}/{rest}")


async def write_object(request: Request, start: Folder, rest: Rest) -> Response:
    """Keep a file that has this digest."""
    desk: ShelfDesk = request.app.state.desk
    desk.check(request, WRITE)
    spool = desk.folder / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    async with spooled(request, spool, limit=OBJECT_BYTES) as came:
        if came.digest != start + rest:
            msg = f"the {came.size} bytes that arrived are not object {start}{rest[:10]}; send them again"
            raise SealBroken(msg)
        await run_in_threadpool(_keep, came.path, desk.folder / "objects" / start / rest)
    return JSONResponse({})


def _keep(came: Path, place: Path) -> None:
    """Let a file that is whole and checked stand at its place, for good."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with came.open("rb") as file:
        os.fsync(file.fileno())
    came.chmod(0o644)                          # another web server may serve the folder
    with suppress(FileExistsError):
        os.link(came, place)
    sync_folder(place.parent)


async def write_index(request: Request, lab: Fingerprint) -> Response:
    """Replace what a lab offers: by its signature, and by a newer one only."""
    desk: ShelfDesk = request.app.state.desk
    desk.check(request, WRITE)
    data = bytearray()
    async for block in request.stream():
        data += block
        if len(data) > INDEX_BYTES:
            raise HTTPException(413, f"an index of more than {INDEX_BYTES} bytes")
    await run_in_threadpool(_replace, desk, lab, bytes(data))
    return JSONResponse({})


def _replace(desk: ShelfDesk, lab: str, data: bytes) -> None:
    whose = next((one for one in desk.trusted if one.fingerprint == lab), None)
    if whose is None:
        raise HTTPException(403, f"the lab with fingerprint {lab} may not offer here; whoever serves this shelf would "
                                 "have to write its key into trusted_labs")  # fmt: skip
    shelf = FolderShelf(desk.folder)
    with desk.lock:
        index, path = check_index(data, key=whose.key, lab=whose.name), f"{lab}/{INDEX}"
        if shelf.has(path):
            before = check_index(shelf.get(path, most=INDEX_BYTES), key=whose.key, lab=whose.name)
            if index.sequence <= before.sequence:
                msg = f"number {index.sequence} of {whose.name} is not newer than {before.sequence}, which is here"
                raise SealBroken(msg)
        for offer in index.offers:
            for name, digest in offer.files.items():
                if not shelf.has(f"objects/{digest[:2]}/{digest[2:]}"):
                    msg = f"{offer.ref}: {name} is not here yet; push it again"
                    raise NotFound(msg)
        shelf.put(path, data)


class ShelfServer:
    """The shelf's door, open until it is closed.

    Parameters
    ----------
    desk
        What it works with.
    host, port
        Where to listen; port 0 takes a free one.
    tls
        What it shows; needed, with a token for reading, wherever others than this machine can come.

    Raises
    ------
    SettingsError
        Others could come, and it would be open or in the clear; or the port is taken.
    """

    def __init__(self, desk: ShelfDesk, *, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        import uvicorn

        if not _loopback(host) and (tls is None or READ not in desk.tokens.values()):
            msg = f"{host} can be reached by others: give --cert, --key and --read-token, or listen on 127.0.0.1"
            raise SettingsError(msg)
        try:
            self._socket = socket.create_server((host, port))
        except OSError as error:
            msg = f"cannot listen on {host}:{port} ({error.strerror}); give another with --listen ADDRESS:PORT"
            raise SettingsError(msg) from None
        self._server = uvicorn.Server(uvicorn.Config(
            create_shelf(desk), log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            ws="none", lifespan="off", limit_concurrency=64, timeout_graceful_shutdown=5,
            ssl_context_factory=(lambda *_: tls) if tls else None,
        ))  # fmt: skip
        self.url = f"{'https' if tls else 'http'}://{host}:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        """Serve until told to end."""
        with self._socket:
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Tell it to end."""
        self._server.should_exit = True


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _file(request: Request, path: str) -> Response:
    desk: ShelfDesk = request.app.state.desk
    desk.check(request, READ)
    place = desk.folder / path
    if not place.is_file():
        msg = f"{path} is not here"
        raise NotFound(msg)
    return FileResponse(place, media_type="application/octet-stream")


async def _deliberate(_: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return JSONResponse({"status": status, "detail": str(error)}, status)


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"status": error.status_code, "detail": str(error.detail)}, error.status_code, error.headers)
