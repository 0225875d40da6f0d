"""People of the hub at the page: OAuth 2 with the hub as the provider (RFC 6749 section 4.1), sessions in memory.

The hub's proxy forwards ``/services/adapter/`` to this door. A browser holds the number of a session and nothing else;
whose it is, the hub is asked again every few seconds, so that a group that was left counts no longer.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlencode

import requests
from fastapi import HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from ailab_kernel.adapter.rules import Bearer, HubDoor
from ailab_kernel.fleet.owners import owner_of
from ailab_kernel.ground.errors import CatalogError

PREFIX = "/services/adapter"
BACK = f"{PREFIX}/oauth_callback"
CLIENT = "service-adapter"                     # the hub's name for the OAuth client of its service "adapter"
BY_PAGE = "x-ailab-page"                       # a header that only our own page sends: no form of another site can
_SESSION, _STATE = "ailab-adapter-session", "ailab-adapter-state"
_LONGEST_S, _MOST, _REMEMBERED_S = 12 * 3600.0, 1000, 10.0


@dataclass
class _Session:
    token: str = field(repr=False)
    until: float
    asked_at: float = -_REMEMBERED_S
    bearer: Bearer | None = None


class HubPeople:
    """Who of the hub is at the page.

    Parameters
    ----------
    door
        The hub, and which groups may what.

    Raises
    ------
    SettingsError
        The service's token is not there.
    """

    def __init__(self, door: HubDoor) -> None:
        self._door, self._secret = door, door.secret()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._lock = Lock()

    def bearer(self, request: Request) -> Bearer | None:
        """Return who a request's session belongs to, None without one; it counts for what our own page asks only."""
        if BY_PAGE not in request.headers:
            return None
        return self._owner(request.cookies.get(_SESSION, ""))

    def known(self, request: Request) -> bool:
        """Whether a browser has a session."""
        return self._owner(request.cookies.get(_SESSION, "")) is not None

    def sign_in(self) -> Response:
        """Send a browser to the hub, which sends it back to `come_back`."""
        state = secrets.token_urlsafe(24)
        asked = {"client_id": CLIENT, "redirect_uri": BACK, "response_type": "code", "state": state}
        answer = RedirectResponse(f"{self._door.url}/hub/api/oauth2/authorize?{urlencode(asked)}", 302)
        return self._keep(answer, _STATE, state, seconds=600)

    def come_back(self, request: Request) -> Response:
        """Open a session for whom the hub sends back.

        Raises
        ------
        HTTPException
            It was not this browser that was sent to the hub, or the hub knows nothing of it.
        """
        told = request.query_params
        sent = request.cookies.get(_STATE, "")
        if not sent or not hmac.compare_digest(sent.encode(), told.get("state", "").encode()):
            raise HTTPException(400, "this sign-in was not begun here; open the page again")
        number = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= _MOST:
                self._sessions.popitem(last=False)
            self._sessions[number] = _Session(self._token(told.get("code", "")), time.monotonic() + _LONGEST_S)
        return self._keep(RedirectResponse(f"{PREFIX}/", 302), _SESSION, number, seconds=int(_LONGEST_S))

    def _token(self, code: str) -> str:
        """The person's token for the code that the hub gave the browser (RFC 6749 section 4.1.3)."""
        told = {"client_id": CLIENT, "client_secret": self._secret, "grant_type": "authorization_code", "code": code,
                "redirect_uri": BACK}  # fmt: skip
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(f"{self._door.api}/oauth2/token", data=told, timeout=5, allow_redirects=False,
                                      verify=self._door.ca or True)  # fmt: skip
            return str(answer.json()["access_token"])
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            detail = f"the hub does not vouch for this sign-in ({type(error).__name__}); open the page again"
            raise HTTPException(403, detail) from None

    def _owner(self, number: str) -> Bearer | None:
        now = time.monotonic()
        with self._lock:
            session = self._sessions.get(number)
        if session is None or now > session.until:
            return None
        if now - session.asked_at > _REMEMBERED_S:
            try:
                found = owner_of(session.token, api=self._door.api, ca=self._door.ca)
            except CatalogError as error:
                raise HTTPException(503, str(error)) from None
            session.bearer, session.asked_at = self._person(found), now
        return session.bearer

    def _person(self, found: Any) -> Bearer | None:
        if not found or found.get("kind") != "user":
            return None
        groups = [*(found.get("groups") or ()), *(["admin"] if found.get("admin") is True else [])]
        return Bearer(str(found["name"]), "", self._door.may(groups))

    def _keep(self, answer: Response, name: str, value: str, *, seconds: int) -> Response:
        answer.set_cookie(name, value, max_age=seconds, path=PREFIX, httponly=True, samesite="lax",
                          secure=self._door.url.startswith("https:"))  # fmt: skip
        return answer


class ByHub:
    """The application as the hub's proxy sees it: below a prefix, which the application knows nothing of."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take the prefix off, and say that it was there."""
        if scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/"):
            scope = {**scope, "path": scope["path"].removeprefix(PREFIX), "ailab.hub": True}
        await self._app(scope, receive, send)
