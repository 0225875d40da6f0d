"""The hub's service that stops servers nobody uses: it asks the hub who is active, and the rooms what they work on.

It may stop servers, not enter them. Stopping is asking: the room lets programs write where they stand, the server makes
a checkpoint of each open notebook (`checkpoint`), and only who stays is ended.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ailab_kernel.fleet.culling import Verdict, judge
from ailab_kernel.ground.activity import beats, tell
from hub_config.house import House, open_house

_PAGE = 200


def servers(users: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every running server as the hub's REST API tells of it, with the name of its person."""
    for user in users:
        for server in user.get("servers", {}).values():
            if server["ready"]:
                yield user["name"], server


def look(house: House, said: dict[str, str]) -> None:
    """Look at every server once; ``said`` holds what each person was warned of, so that it is said once."""
    profiles = {one.name: one for one in house.profiles}
    for name, server in servers(everybody()):
        profile = profiles.get((server.get("user_options") or {}).get("tier", ""), house.profiles[0])
        started = _unix(server["started"])
        active = max(_unix(server["last_activity"]), started)
        working = [*beats(house.activity(name)), *beats(house.seen(name))]
        verdict = judge(profile, started=started, active=active, beats=working, now=time.time())
        _act(house, name, server["name"], verdict, said)


def _act(house: House, name: str, server: str, verdict: Verdict, said: dict[str, str]) -> None:
    if verdict.act == "keep" or said.get(name) == verdict.why:
        said.pop(name, None) if verdict.act == "keep" else None
        return
    said[name] = verdict.why
    tell(house.notices(name), verdict.why[0].upper() + verdict.why[1:] + ".")
    sys.stderr.write(f"culler: {name}: {verdict.act}: {verdict.why}\n")
    if verdict.act == "stop":
        ask("DELETE", f"/users/{name}/servers/{server}" if server else f"/users/{name}/server")


def everybody() -> list[dict[str, Any]]:
    """Everybody with a running server, page by page."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        told = ask("GET", f"/users?state=active&limit={_PAGE}&offset={len(found)}")
        found += told["items"]
        more = bool(told["items"]) and told["_pagination"]["next"] is not None
    return found


def ask(method: str, path: str) -> Any:
    """Ask the hub's REST API as this service."""
    request = urllib.request.Request(
        os.environ["JUPYTERHUB_API_URL"] + path, method=method,
        headers={"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}",
                 "Accept": "application/jupyterhub-pagination+json"})  # fmt: skip
    with urllib.request.urlopen(request, timeout=60, context=_context()) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def _context() -> ssl.SSLContext | None:
    """How the hub is reached where TLS is used inside: with the certificate that it gave to this service."""
    own = {name: os.environ.get(f"JUPYTERHUB_SSL_{name}", "") for name in ("CERTFILE", "KEYFILE", "CLIENT_CA")}
    if not own["CERTFILE"]:
        return None
    context = ssl.create_default_context(cafile=own["CLIENT_CA"])
    context.load_cert_chain(own["CERTFILE"], own["KEYFILE"])
    return context


def _unix(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main() -> None:
    """Look again and again until the hub ends this process."""
    house, said = open_house(), {}
    while True:
        try:
            look(house, said)
        except (urllib.error.URLError, TimeoutError) as error:
            sys.stderr.write(f"culler: the hub did not answer ({error}); trying again\n")
        time.sleep(house.beat_s)


if __name__ == "__main__":
    main()
