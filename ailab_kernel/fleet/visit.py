"""A person's way through the hub, by HTTP alone: log in, choose a tier, wait for JupyterLab, run a line, leave.

`ailab hub check` walks it with an account that exists for the walk only.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from ailab_kernel.ground.errors import AilabError, NotFound

from .invitations import invite

if TYPE_CHECKING:
    import requests

GUEST = "ailab-check"
_ANSWER_S = 30.0


@dataclass(frozen=True)
class Step:
    """One step of a walk: what was done, and how long it took, s."""

    did: str
    seconds: float


class Visit:
    """One person at the hub's address.

    Parameters
    ----------
    url
        Of the hub, e.g. ``http://127.0.0.1:8000``.
    name
        Of the account.
    """

    def __init__(self, url: str, name: str) -> None:
        import requests

        self._url, self._name = url.rstrip("/"), name
        self._session: requests.Session = requests.Session()
        self._token = ""

    def log_in(self, password: str) -> None:
        """Log in with the form, as a browser does; the session then holds a short-lived token of the person's own.

        Raises
        ------
        AilabError
            Name or password were refused.
        """
        self._get("/hub/login")
        told = {"username": self._name, "password": password, "_xsrf": self._xsrf()}
        self._session.post(f"{self._url}/hub/login", data=told, allow_redirects=False, timeout=_ANSWER_S)
        self._get("/hub/home")
        made = self._session.post(
            f"{self._url}/hub/api/users/{self._name}/tokens", json={"note": "visit", "expires_in": 900},
            headers={"X-XSRFToken": self._xsrf()}, timeout=_ANSWER_S)  # fmt: skip
        if made.status_code >= 400:
            msg = f"the hub did not let {self._name} in (status {made.status_code}); check the name and the password"
            raise AilabError(msg)
        self._token = made.json()["token"]

    def tiers(self) -> list[str]:
        """Return the names of the tiers that the person's form offers."""
        from bs4 import BeautifulSoup

        page = BeautifulSoup(self._get("/hub/spawn").text, "html.parser")
        return [str(one["value"]) for one in page.select('input[name="tier"]:not([disabled])')]

    def choose(self, tier: str) -> "requests.Response":
        """Post the form with a tier, whether or not the form offers it, and return the answer."""
        self._get("/hub/spawn")
        return self._session.post(f"{self._url}/hub/spawn/{self._name}", params={"_xsrf": self._xsrf()},
                                  data={"tier": tier}, timeout=_ANSWER_S)  # fmt: skip

    def server(self) -> dict[str, Any]:
        """Return what the hub says of the person's server; empty when there is none."""
        return self.api("GET", f"/users/{self._name}").json().get("servers", {}).get("", {})

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until JupyterLab's page answers.

        Raises
        ------
        AilabError
            It does not within the time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.server().get("ready") and self.lab("GET", "/lab").status_code == 200:
                return
            time.sleep(0.2)
        msg = f"JupyterLab did not answer within {seconds:g} s; the hub's log says more"
        raise AilabError(msg)

    def kernel(self) -> str:
        """Start a kernel and return its id."""
        return self.lab("POST", "/api/kernels", body={"name": "python3"}).json()["id"]

    def run(self, code: str, *, kernel: str, seconds: float = 60.0) -> str:
        """Run code in a kernel and return what it printed; an error's text counts as printed.

        Raises
        ------
        AilabError
            The kernel ended or did not answer within the time.
        """
        import websocket

        place = urlsplit(self._url)
        address = f"ws://{place.netloc}/user/{self._name}/api/kernels/{kernel}/channels"
        link = websocket.create_connection(address, header=[f"Authorization: token {self._token}"], timeout=seconds)
        try:
            return _run(link, code, until=time.monotonic() + seconds)
        except (OSError, websocket.WebSocketException) as error:
            msg = f"the kernel did not finish ({type(error).__name__})"
            raise AilabError(msg) from None
        finally:
            link.close()

    def leave(self, seconds: float = 60.0) -> None:
        """Stop the server and wait until it is gone."""
        self.api("DELETE", f"/users/{self._name}/server")
        until = time.monotonic() + seconds
        while self.server() and time.monotonic() < until:
            time.sleep(0.2)

    def lab(self, method: str, path: str, *, body: Any = None) -> "requests.Response":
        """Ask the person's own server."""
        return self._ask(method, f"/user/{self._name}{path}", body)

    def api(self, method: str, path: str, *, body: Any = None) -> "requests.Response":
        """Ask the hub's REST API as the person."""
        return self._ask(method, f"/hub/api{path}", body)

    def told(self, *, until: str, seconds: float = 30.0) -> str:
        """Return what the hub tells while the server starts, up to the first line with ``until`` in it."""
        import requests

        address = f"{self._url}/hub/api/users/{self._name}/server/progress"
        heard = ""
        with requests.get(address, headers={"Authorization": f"token {self._token}"}, stream=True,
                          timeout=seconds) as answer:  # fmt: skip
            for line in answer.iter_lines():
                heard += line.decode() + "\n"
                if until in heard:
                    break
        return heard

    def _ask(self, method: str, path: str, body: Any) -> "requests.Response":
        import requests

        return requests.request(method, self._url + path, json=body, timeout=_ANSWER_S,
                                headers={"Authorization": f"token {self._token}"})  # fmt: skip

    def _get(self, path: str) -> "requests.Response":
        return self._session.get(self._url + path, timeout=_ANSWER_S)

    def _xsrf(self) -> str:
        """The form's token; the hub's cookie has the path ``/hub/``."""
        return next((one.value or "" for one in self._session.cookies if one.name == "_xsrf"), "")


def _run(link: Any, code: str, *, until: float) -> str:
    header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "session": uuid4().hex, "username": "",
              "version": "5.3"}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    link.send(json.dumps(request))
    printed = ""
    while True:
        message = _next(link, until)
        if message["msg_type"] == "status" and message["content"]["execution_state"] in {"dead", "restarting"}:
            raise ConnectionError("kernel " + message["content"]["execution_state"])
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        told = message["content"]
        printed += told.get("text", "") if message["msg_type"] == "stream" else ""
        printed += told.get("data", {}).get("text/plain", "") if message["msg_type"] == "execute_result" else ""
        printed += "\n".join(told["traceback"]) if message["msg_type"] == "error" else ""
        if message["msg_type"] == "status" and told["execution_state"] == "idle":
            return printed


def _next(link: Any, until: float) -> dict[str, Any]:
    """Return the next message; the time counts in all, though pings and other cells' messages keep coming."""
    import websocket

    while True:
        link.settimeout(max(0.001, until - time.monotonic()))
        kind, data = link.recv_data(control_frame=True)
        if kind == websocket.ABNF.OPCODE_CLOSE:
            raise ConnectionError("connection closed")
        if kind == websocket.ABNF.OPCODE_TEXT:
            return json.loads(data)


def check(url: str, folder: Path) -> list[Step]:
    """Let a temporary account log in, start the smallest tier, run a line, and be removed; return the steps.

    Parameters
    ----------
    url
        Of the running hub.
    folder
        The hub's private folder, for the invitation and the check's own token.

    Raises
    ------
    NotFound
        No hub was started with this folder.
    AilabError
        A step failed; the account is removed all the same.
    """
    token = folder / "check.token"
    if not token.is_file():
        msg = "no hub was started for this lab; run: ailab hub start"
        raise NotFound(msg)
    steps: list[Step] = []
    began = time.monotonic()

    def _did(what: str) -> None:
        nonlocal began
        now = time.monotonic()
        steps.append(Step(what, round(now - began, 2)))
        began = now

    guest = invite(folder / "invitations", GUEST, role="student")
    visit = Visit(url, GUEST)
    try:
        visit.log_in(guest.password)
        _did("a temporary user logged in")
        tier = visit.tiers()[0]
        visit.choose(tier)
        visit.wait()
        _did(f"tier {tier} started and JupyterLab answered")
        if "42" not in visit.run("6 * 7", kernel=visit.kernel()):
            msg = "a kernel started but did not compute 6 * 7; the hub's log says more"
            raise AilabError(msg)
        _did("a kernel ran one line")
        visit.leave()
        _did("the server stopped")
    finally:
        _remove(url, token.read_text(), folder)
    _did("the user was removed")
    return steps


def _remove(url: str, token: str, folder: Path) -> None:
    import requests

    (folder / "invitations" / f"{GUEST}.json").unlink(missing_ok=True)
    requests.delete(f"{url}/hub/api/users/{GUEST}", headers={"Authorization": f"token {token}"}, timeout=_ANSWER_S)
