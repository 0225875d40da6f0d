"""``python -m ailab_kernel.service``: started by the hub as its service ``ailab``, or alone with ``--token-file``.

It runs as a system user of its own, the only one that can read the lab's folder: keys, pseudonyms, ledger, objects.
"""

import argparse
import logging
import os
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ailab_kernel.ground.errors import AilabError, MissingExtra, SettingsError
from ailab_kernel.ground.settings import Settings
from ailab_kernel.ground.tls import server_context
from ailab_kernel.privacy.exits import Redacting
from ailab_kernel.workspace import open_workspace

from . import PREFIX
from .identity import Callers, TokenFile, hub_callers

if TYPE_CHECKING:
    from fastapi import FastAPI

_LISTEN = "http://127.0.0.1:8600"
_LAST_ANSWERS_S = 5                            # so long may running answers take once the service is told to end


def main(words: Sequence[str] | None = None) -> int:
    """Serve until told to end; the exit code is 0, or that of the error that kept it from starting."""
    asked = _parser().parse_args(words)
    os.umask(0o077)
    try:
        serve(asked.listen, callers=_callers(asked.token_file), prefix=asked.prefix)
    except AilabError as error:
        sys.stderr.write(f"ailab service: {error}\n")
        return error.exit_code
    return 0


def serve(url: str, *, callers: Callers, prefix: str = PREFIX) -> None:
    """Open the lab that the settings name and serve it at ``url``."""
    scheme, host, port = _place(url)
    _require("fastapi", "uvicorn")
    import uvicorn

    from . import patients
    from .app import create_app
    from .guard import open_desk

    shared = os.environ.get(patients.VARIABLE) == patients.NONE
    if shared:
        sys.stderr.write("ailab service: users are not isolated from it here; archives with patients are refused\n")
    workspace = open_workspace(service="")
    tls = _tls(workspace.settings, scheme)
    desk = open_desk(workspace, callers, phantoms_only=shared)
    uvicorn.run(
        create_app(desk, prefix=prefix, lifespan=_told), host=host, port=port, log_level="warning", access_log=False,
        server_header=False, proxy_headers=False, ws="none", timeout_graceful_shutdown=_LAST_ANSWERS_S,
        ssl_context_factory=(lambda *_: tls) if tls else None,
    )  # fmt: skip


@asynccontextmanager
async def _told(app: "FastAPI") -> AsyncIterator[None]:
    """When the service ran stands in the trail (PS3.15 A.5.3.1, Application Activity)."""
    lab = app.state.desk.realms.lab
    for handler in (*logging.getLogger("uvicorn").handlers, *logging.getLogger().handlers):
        handler.addFilter(Redacting(lab))
    lab.audit("service.started")
    yield
    lab.audit("service.ended")


def _tls(settings: Settings, scheme: str) -> ssl.SSLContext | None:
    """What an https address is served with, TLS 1.2 or later; SettingsError where address and settings differ."""
    given = bool(settings.service_cert), bool(settings.service_key)
    if scheme == "http" and not any(given):
        return None
    if scheme == "http" or not all(given):
        msg = "service_cert, service_key and an https:// address to listen at belong together; give all or none"
        raise SettingsError(msg)
    return server_context(settings.service_cert, settings.service_key, what=("service_cert", "service_key"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ailab_kernel.service", description=__doc__)
    parser.add_argument("--listen", default=os.environ.get("JUPYTERHUB_SERVICE_URL", _LISTEN), help="http(s)://HOST:PORT")
    parser.add_argument("--prefix", default=os.environ.get("JUPYTERHUB_SERVICE_PREFIX", PREFIX))
    parser.add_argument("--token-file", type=Path, help="who may enter, where there is no hub: a JSON file, mode 0600")
    return parser


def _callers(token_file: Path | None) -> Callers:
    """Exactly one way to find out who is asking; none is no way to start."""
    hub = "JUPYTERHUB_API_URL" in os.environ
    if hub and token_file:
        msg = "a token file beside a hub would be a second door; leave --token-file out"
        raise SettingsError(msg)
    if token_file:
        return TokenFile(token_file)
    if not hub:
        msg = "nobody says who is asking: let the hub start the service (JUPYTERHUB_API_URL), or give --token-file"
        raise SettingsError(msg)
    return hub_callers()


def _require(*libraries: str) -> None:
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        msg = f"the service needs {', '.join(missing)}; pip install 'ailab-kernel[hub]'"
        raise MissingExtra(msg)


def _place(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in {"http", "https"} or not host or not port:
        msg = f"{url!r} is no place to listen; write http://127.0.0.1:8600"
        raise SettingsError(msg)
    return parts.scheme, host, port


if __name__ == "__main__":
    sys.exit(main())
