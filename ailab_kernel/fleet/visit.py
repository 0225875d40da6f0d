"""A person's way through the hub, by HTTP alone: log in, choose a tier, wait for JupyterLab, run a line, leave."""

import json
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from ailab_kernel.ground.errors import AilabError

if TYPE_CHECKING:
    import requests

_ANSWER_S = 30.0
_AUTHORITY = "AILAB_HUB_TLS_CA"


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
        self._session.post(f"{self._url}/hub/login", data=told, allow_redirects=False, timeout=_ANSWER_S,
                           verify=trusted())  # fmt: skip
        self._get("/hub/home")
        made = self._session.post(
            f"{self._url}/hub/api/users/{self._name}/tokens", json={"note": "visit", "expires_in": 900},
            headers={"X-XSRFToken": self._xsrf()}, timeout=_ANSWER_S, verify=trusted())  # fmt: skip
        if made.status_code >= 400:
            msg = f"the hub did not let {self._name} in (status {made.status_code}); check the name and the password"
            raise AilabError(msg)
        self._token = made.json()["token"]

    def tiers(self) -> list[str]:
        """Return the names of the tiers that the person's form offers."""
        return [name for name, lacking in self.form().items() if not lacking]

    def form(self) -> dict[str, str]:
        """Return every tier that the person's form shows, with what this machine lacks for it; empty for nothing."""
        from bs4 import BeautifulSoup

        page = BeautifulSoup(self._get("/hub/spawn").text, "html.parser")
        found = {}
        for one in page.select('input[name="tier"]'):
            words = one.parent.get_text(" ") if one.parent and one.has_attr("disabled") else ""
            note = [part.strip() for part in words.split(".") if "this machine has" in part.lower()]
            found[str(one["value"])] = (note or ["it is not offered"])[0] if one.has_attr("disabled") else ""
        return found

    def choose(self, tier: str) -> "requests.Response":
        """Post the form with a tier, whether or not the form offers it, and return the answer."""
        self._get("/hub/spawn")
        return self._session.post(f"{self._url}/hub/spawn/{self._name}", params={"_xsrf": self._xsrf()},
                                  data={"tier": tier}, timeout=_ANSWER_S, verify=trusted())  # fmt: skip

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
        """Start a kernel and return its id.

        Raises
        ------
        AilabError
            The server is not there, or makes none.
        """
        made = self.lab("POST", "/api/kernels", body={"name": "python3"})
        if made.status_code != 201:
            msg = f"the server made no kernel (status {made.status_code}); start it again"
            raise AilabError(msg)
        return made.json()["id"]

    def run(self, code: str, *, kernel: str, seconds: float = 60.0) -> str:
        """Run code in a kernel and return what it printed; an error's text counts as printed.

        Raises
        ------
        AilabError
            The kernel ended or did not answer within the time.
        """
        printed, error = self.execute(code, kernel=kernel, seconds=seconds)
        return printed + error

    def execute(self, code: str, *, kernel: str, seconds: float = 60.0) -> tuple[str, str]:
        """Run code in a kernel and return what it printed, and the traceback of the error that it ended with, if any.

        Raises
        ------
        AilabError
            The kernel ended or did not answer within the time.
        """
        import websocket

        place = urlsplit(self._url)
        address = f"{place.scheme.replace('http', 'ws')}://{place.netloc}/user/{self._name}/api/kernels/{kernel}/channels"
        authority = os.environ.get(_AUTHORITY) or os.environ.get("REQUESTS_CA_BUNDLE")
        link = websocket.create_connection(address, header=[f"Authorization: token {self._token}"], timeout=seconds,
                                           sslopt={"ca_certs": authority} if authority else {})  # fmt: skip
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
        with requests.get(address, headers={"Authorization": f"token {self._token}"}, stream=True, timeout=seconds,
                          verify=trusted()) as answer:  # fmt: skip
            for line in answer.iter_lines():
                heard += line.decode() + "\n"
                if until in heard:
                    break
        return heard

    def _ask(self, method: str, path: str, body: Any) -> "requests.Response":
        import requests

        return requests.request(method, self._url + path, json=body, timeout=_ANSWER_S, verify=trusted(),
                                headers={"Authorization": f"token {self._token}"})  # fmt: skip

    def _get(self, path: str) -> "requests.Response":
        return self._session.get(self._url + path, timeout=_ANSWER_S, verify=trusted())

    def _xsrf(self) -> str:
        """The form's token; the hub's cookie has the path ``/hub/``."""
        return next((one.value or "" for one in self._session.cookies if one.name == "_xsrf"), "")


def trusted() -> str | bool:
    """Whom to trust for the hub's certificate: the authority's file that is named, else the public ones."""
    return os.environ.get(_AUTHORITY) or True


def _run(link: Any, code: str, *, until: float) -> tuple[str, str]:
    header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "session": uuid4().hex, "username": "",
              "version": "5.3"}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    link.send(json.dumps(request))
    printed = error = ""
    while True:
        message = _next(link, until)
        if message["msg_type"] == "status" and message["content"]["execution_state"] in {"dead", "restarting"}:
            raise ConnectionError("kernel " + message["content"]["execution_state"])
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        told = message["content"]
        printed += told.get("text", "") if message["msg_type"] == "stream" else ""
        printed += told.get("data", {}).get("text/plain", "") if message["msg_type"] == "execute_result" else ""
        error += "\n".join(told["traceback"]) if message["msg_type"] == "error" else ""
        if message["msg_type"] == "status" and told["execution_state"] == "idle":
            return printed, error


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
