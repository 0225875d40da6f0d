"""The web's door while it is open: uvicorn in a thread, and a limit to how long a peer may say nothing."""

import asyncio
import logging
import socket
import threading
import time
import traceback
from typing import Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ailab_kernel.adapter.rules import WebDoor
from ailab_kernel.ground.errors import SettingsError

from .app import create_app
from .desk import Desk
from .hub import ByHub

_MOST = 512                                    # connections; the next is told to come back later
_LAST_ANSWERS_S = 10                           # so long may running answers take once the door is to close


class _Watched(H11Protocol):
    """A connection that is ended where no request comes; uvicorn itself watches only what is behind the first."""

    request_s = 10.0
    _seen: object = None                       # the request that was over already when it was looked last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch it."""
        super().connection_made(transport)
        self.loop.call_later(self.request_s, self._look)

    def shutdown(self) -> None:
        """End it; over TLS, a peer that does not say goodbye is not waited for."""
        super().shutdown()
        if self.transport.is_closing():
            self.transport.abort()

    def _look(self) -> None:
        over = self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing():
            return
        if over and self.cycle is self._seen:
            self.transport.abort()
            return
        self._seen = self.cycle if over else self
        self.loop.call_later(self.request_s, self._look)


class _PlaceOnly(logging.Filter):
    """Of an error in the program the log gets kind and place; its message may hold anything of a data set."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place and let it pass."""
        if record.exc_info and record.exc_info[0]:
            kind, _, trace = record.exc_info
            record.exc_text, record.exc_info = f"{''.join(traceback.format_tb(trace))}{kind.__name__}", None
        return True


_PLACE_ONLY = _PlaceOnly()


class WebServer:
    """The web's door, open until it is closed.

    Parameters
    ----------
    door
        Where it is.
    desk
        What it works with.
    """

    def __init__(self, door: WebDoor, desk: Desk) -> None:
        tls = door.tls.context() if door.tls else None
        self._server = uvicorn.Server(uvicorn.Config(
            ByHub(create_app(desk)), log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            ws="none", lifespan="off", http=_Watched, limit_concurrency=_MOST,
            timeout_graceful_shutdown=_LAST_ANSWERS_S, ssl_context_factory=(lambda *_: tls) if tls else None,
        ))  # fmt: skip
        logging.getLogger("uvicorn.error").addFilter(_PLACE_ONLY)
        self._socket = _listening(door)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _listening(door: WebDoor) -> socket.socket:
    try:
        return socket.create_server((door.host, door.port), backlog=512,
                                    family=socket.AF_INET6 if ":" in door.host else socket.AF_INET)  # fmt: skip
    except OSError as error:
        msg = (f"cannot listen on {door.host}:{door.port} ({error.strerror}); end what uses the port, or give another: "
               "web.listen = \"ADDRESS:PORT\"")  # fmt: skip
        raise SettingsError(msg) from None
