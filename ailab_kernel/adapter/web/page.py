"""The live page: one file, which asks nobody else; what it shows it reads with the token that a person gives it."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, Response

_FILE = Path(__file__).with_name("page.html")


def show(request: Request) -> Response:
    """Return the page; it holds no data, so no token is asked for. People of the hub sign in there first."""
    people, by_hub = request.app.state.desk.people, request.scope.get("ailab.hub", False)
    if by_hub and people is None:
        raise HTTPException(404, "adapter.toml has no [web.hub]")
    if by_hub and not people.known(request):
        return people.sign_in()
    html, policy = _page()
    html = html.replace("<html", "<html data-hub", 1) if by_hub else html
    return HTMLResponse(html, headers={
        "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    })  # fmt: skip


def come_back(request: Request) -> Response:
    """Take back whom the hub sends."""
    people = request.app.state.desk.people
    if people is None:
        raise HTTPException(404, "adapter.toml has no [web.hub]")
    return people.come_back(request)


@cache
def _page() -> tuple[str, str]:
    """The page, and the policy by which a browser runs and loads what stands in it and nothing else."""
    html = _FILE.read_text(encoding="utf8")
    hashes = {name: _hash(html, name) for name in ("script", "style")}
    return html, ("default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                  f"frame-ancestors 'self'; script-src {hashes['script']}; style-src {hashes['style']}")  # fmt: skip


def _hash(html: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", html, re.DOTALL)
    assert found, name
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"
