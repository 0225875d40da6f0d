"""Logins, logouts and failed logins, which only the hub sees, brought into the lab's trail (PS3.15 A.5.3.14).

Each is a small file in a folder of the hub until the trusted process has taken it: one that is away for a moment, or a
hub that is killed, loses none. A failed login is told without the tried name unless there is such an account, for it
may be a password in the wrong field; of a flood of them some are written, each with how many were not before it.

It imports nothing of AI-LAB: `fleet.kubernetes` writes it into the chart's values too, and that hub's image lacks it.
"""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import BAD_REQUEST
from pathlib import Path
from typing import Any

import requests
from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.handlers.login import LogoutHandler
from tornado import web

SERVICE = "witness"  # the hub's name among its own services; the trusted process knows it (`service.identity`)
FAILED = "hub-login-failed"
_AGAIN_S, _ANSWER_S = 3.0, 20.0
_MOST, _WITHIN_S = 60, 60.0  # failed logins that are written singly: whoever has no account must not fill the disk
_log = logging.getLogger(__name__)


class Witness:
    """Keeps what was seen, and brings it to the trusted process in its order.

    Parameters
    ----------
    folder
        Where it is kept; made if it is not there, for the hub's own user only.
    service
        Where the trusted process is: ``http(s)://HOST/services/ailab``.
    token
        Of the hub's service ``witness``.
    ca
        File of the authority that signed the trusted process's certificate; empty: the system's.
    """

    def __init__(self, folder: Path, service: str, *, token: str, ca: str = "") -> None:
        self._folder, self._token, self._ca = folder, token, ca
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._place = f"{service}/catalog/visits"
        self._failed: deque[float] = deque(maxlen=_MOST)
        self._untold = 0
        self._refusal = ""
        self._new = threading.Event()
        self._new.set()
        threading.Thread(target=self._bring, name="witness", daemon=True).start()

    def note(self, event: str, user: str, handler: Any) -> None:
        """Write down what was seen; a full disk must not keep people out.

        Parameters
        ----------
        event
            ``hub-login``, ``hub-logout`` or ``hub-login-failed``.
        user
            The account's name; empty where there is none of it.
        handler
            The request's, for the address that it came from.
        """
        if event == FAILED and self._flooded():
            self._untold += 1
            return
        seen = {"event": event, "user": user, "address": handler.request.remote_ip or "",
                "at": datetime.now(UTC).isoformat(timespec="seconds"), "untold": self._untold}  # fmt: skip
        self._untold = 0
        try:
            _write(self._folder / f"{time.time_ns():020d}.json", json.dumps(seen).encode())
        except OSError as error:
            _log.error("a %s cannot be written down (%s): it is not in the audit trail", event, error.strerror)
        self._new.set()

    def _flooded(self) -> bool:
        now = time.monotonic()
        if len(self._failed) == _MOST and now - self._failed[0] < _WITHIN_S:
            return True
        self._failed.append(now)
        return False

    def _bring(self) -> None:
        while True:
            self._new.wait(_AGAIN_S)
            self._new.clear()
            for path in sorted(self._folder.glob("*.json")):
                if not self._taken(path):
                    break

    def _taken(self, path: Path) -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(self._place, data=path.read_bytes(), timeout=_ANSWER_S, allow_redirects=False,
                                      verify=self._ca or True,
                                      headers={"Authorization": f"token {self._token}"})  # fmt: skip
        except OSError as error:  # every RequestException is one; so is an authority's file that is not there
            self._refused(type(error).__name__)
            return False
        if answer.status_code == BAD_REQUEST:
            _log.error("the trusted process does not understand what the hub saw: are both of one version? %s stays",
                       path.rename(path.with_suffix(".refused")))  # fmt: skip
            return True
        self._refused("" if answer.ok else f"HTTP {answer.status_code}")
        if answer.ok:
            path.unlink()
        return answer.ok

    def _refused(self, why: str) -> None:
        """Say once why nothing is taken, for it is tried again every few seconds."""
        if why and why != self._refusal:
            _log.warning("the trusted process at %s does not take what the hub saw (%s); it is kept", self._place, why)
        self._refusal = why


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; it is on the disk when this returns."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def witnessed(authenticator: type[Authenticator], witness: Witness) -> type[Authenticator]:
    """Return an authenticator of which every login, failed login and logout is written down."""

    class Witnessed(authenticator):
        async def get_authenticated_user(self, handler: Any, data: dict[str, str] | None) -> dict[str, Any] | None:
            """Let somebody in or not, and write it down; a provider that is away (5xx) is no failed login."""
            try:
                found = await super().get_authenticated_user(handler, data)
            except web.HTTPError as error:
                if error.status_code < 500:
                    witness.note(FAILED, self._account(data), handler)
                raise
            witness.note("hub-login" if found else FAILED, found["name"] if found else self._account(data),
                         handler)  # fmt: skip
            return found

        def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
            """The handlers there are, of which the one that logs out is noted."""
            given = [(path, noted(one) if issubclass(one, LogoutHandler) else one)
                     for path, one in super().get_handlers(app)]  # fmt: skip
            return [*given, ("/logout", noted(LogoutHandler))]

        def _account(self, data: dict[str, str] | None) -> str:
            name = self.normalize_username((data or {}).get("username", ""))
            return name if name and orm.User.find(self.db, name) else ""

    def noted(handler: type[LogoutHandler]) -> type[LogoutHandler]:
        """The same handler, which writes down who left."""

        class Noted(handler):
            async def default_handle_logout(self) -> None:
                """Log somebody out, and write it down."""
                user = self.current_user
                await super().default_handle_logout()
                if user:
                    witness.note("hub-logout", user.name, self)

        return Noted

    return Witnessed


def configure(c: Any, get_config: Callable[[str], Any], get_secret_value: Callable[[str], str]) -> None:
    """Make the chart's hub a witness; what is not taken yet lies beside its database, on the hub's own disk.

    Parameters
    ----------
    c
        JupyterHub's configuration, in which the authenticator is named.
    get_config
        The chart's reader of values: ``custom.ailab.trusted`` has ``url`` and ``ca``.
    get_secret_value
        The chart's reader of secrets: it made this service's token.

    Raises
    ------
    ValueError
        The trusted process would be asked without TLS.
    """
    told = get_config("custom.ailab.trusted")
    if not told["url"].startswith("https:"):
        msg = f"custom.ailab.trusted.url = {told['url']!r}: https:// is expected, for logins and a token go there"
        raise ValueError(msg)
    witness = Witness(Path("seen").resolve(), told["url"], ca=told["ca"],
                      token=get_secret_value(f"hub.services.{SERVICE}.apiToken"))  # fmt: skip
    named = JupyterHub.authenticator_class.validate(None, c.JupyterHub.authenticator_class)
    c.JupyterHub.authenticator_class = witnessed(named, witness)
