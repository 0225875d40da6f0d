"""Whose token it is, asked of a hub: a stand-in that answers ``GET /user`` as JupyterHub 6.1 does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from ailab_kernel.ground.errors import CatalogError
from ailab_kernel.service import identity
from ailab_kernel.service.identity import Caller, HubCallers, hub_callers
from tests.services import http_server

OURS = "access:services!service=ailab"
PEOPLE = {
    "t-anna": {"kind": "user", "name": "anna", "admin": False, "groups": ["radiologist", "staff"], "scopes": [OURS]},
    "t-root": {"kind": "user", "name": "root", "admin": True, "groups": [], "scopes": ["access:services", "self"]},
    "t-lee": {"kind": "user", "name": "lee", "admin": False, "groups": ["admin"], "scopes": ["read:users"]},
    "t-other": {"kind": "user", "name": "lee", "groups": ["admin"], "scopes": ["access:services!service=other"]},
    "t-cull": {"kind": "service", "name": "idle-culler", "admin": True, "scopes": ["access:services"]},
    "t-text": {"kind": "user", "name": "eve", "admin": "false", "groups": None, "scopes": [OURS]},
}


@contextmanager
def hub(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            token = self.headers["Authorization"].removeprefix("token ")
            asked.append(token)
            model = PEOPLE.get(token) if self.path == "/hub/api/user" else None
            body = json.dumps(model or {"status": 403}).encode()
            self.send_response(status if status != 200 else 200 if model else 403)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Stay quiet."""

    with http_server(Handler) as base:
        yield f"{base}/hub/api", asked


@pytest.mark.parametrize(("token", "caller"), [
    ("t-anna", Caller("anna", frozenset({"radiologist"}))),
    ("t-root", Caller("root", frozenset({"admin"}))),
    ("t-lee", None), ("t-other", None), ("t-cull", None), ("forged", None),
    ("t-text", Caller("eve", frozenset())),
])  # fmt: skip
def test_the_hub_says_who_it_is(monkeypatch, token, caller):
    with hub() as (api, _):
        monkeypatch.setenv("JUPYTERHUB_API_URL", api)
        monkeypatch.setenv("JUPYTERHUB_SERVICE_NAME", "ailab")
        assert hub_callers().identify(token) == caller


def test_the_answer_is_remembered_for_some_seconds(monkeypatch):
    monkeypatch.setattr(identity, "_REMEMBERED_S", 0.3)
    with hub() as (api, asked):
        callers = HubCallers(api, frozenset({OURS}))
        for token in ("t-anna", "t-anna", "forged", "forged", "t-anna"):
            callers.identify(token)
        assert asked == ["t-anna", "forged"]
        import time

        time.sleep(0.35)
        callers.identify("t-anna")
        assert asked == ["t-anna", "forged", "t-anna"]


@pytest.mark.parametrize("status", [302, 404, 500, 503])
def test_a_hub_that_does_not_answer_is_not_a_no(status):
    with hub(status) as (api, _), pytest.raises(CatalogError, match="the hub does not say"):
        HubCallers(api, frozenset({OURS})).identify("t-anna")
    with pytest.raises(CatalogError, match="the hub does not say"):
        HubCallers("http://127.0.0.1:1/hub/api", frozenset({OURS})).identify("t-anna")


def test_tokens_are_not_shown(monkeypatch):
    with hub() as (api, _):
        callers = HubCallers(api, frozenset({OURS}))
        callers.identify("t-anna")
        assert "t-anna" not in repr(callers) + repr(callers.__dict__)
