"""Every route of the hub, of people's servers and of the trusted process, tried by everybody: nobody gets further than said.

The routes come from the applications themselves, so that a new one without a line here fails.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import psutil
import pytest
import requests

from ailab_kernel.fleet.profiles import ROLES
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.service.roles import MAY, Act
from tests.service.test_roles import examples

from . import walls
from .hubs import hub as started
from .walls import Route

pytestmark = pytest.mark.slow
REFUSED = {401, 403, 404, 424}          # 404: the hub does not say whether there is such a person; 424: no server runs
SETS = {"everybody": {"nobody", "no-role", *ROLES, "server", "check", "culler", "ailab"},
        "people": {"no-role", *ROLES}, "roles": set(ROLES), "none": set()}  # fmt: skip
# method, pattern: who gets past the door. "other": a route of somebody else; "own": of the caller
HUB = """
GET     /hub                                      everybody
GET     /hub/                                     people
GET     /hub/home                                 people
GET     /hub/token                                people
GET     /hub/change-password                      people
POST    /hub/change-password                      people
GET     /hub/spawn                                people
POST    /hub/spawn                                roles
GET     /hub/admin                                admin
GET     /hub/login                                everybody
POST    /hub/login                                none
GET     /hub/logo                                 everybody
HEAD    /hub/logo                                 everybody
GET     /hub/health$                              everybody
HEAD    /hub/health$                              everybody
GET     /hub/error/(\\d+)                         everybody
GET     /hub/metrics$                             none
POST    /hub/security/csp-report                  people
GET     /hub/accept-share                         people
POST    /hub/accept-share                         people
GET     /hub/user-redirect/(.*)?                  people
GET     /hub/spawn/([^/]+)                        other admin; own people
POST    /hub/spawn/([^/]+)                        other none; own roles
GET     /hub/spawn/([^/]+)/([^/]+)                other admin; own people
POST    /hub/spawn/([^/]+)/([^/]+)                other admin; own people
GET     /hub/spawn-pending/([^/]+)                other admin; own people
GET     /hub/spawn-pending/([^/]+)/([^/]+)        none
GET     /hub/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?     other none; own server data-scientist
POST    /hub/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?     none
PATCH   /hub/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?     none
DELETE  /hub/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?     none
GET     /(user|services)/([^/]+)                  everybody
GET     (?!/hub/).*                               everybody
GET     /hub/logout                               everybody
GET     /hub/api/?                                everybody
GET     /hub/api/health$                          everybody
HEAD    /hub/api/health$                          everybody
GET     /hub/api/metrics$                         none
GET     /hub/api/info                             none
POST    /hub/api/shutdown                         none
GET     /hub/api/proxy                            none
POST    /hub/api/proxy                            none
PATCH   /hub/api/proxy                            none
GET     /hub/api/services                         none
GET     /hub/api/services/([^/]+)                 none
POST    /hub/api/services/([^/]+)                 none
DELETE  /hub/api/services/([^/]+)                 none
GET     /hub/api/user                             everybody but nobody
GET     /hub/api/users                            admin check culler
POST    /hub/api/users                            admin
GET     /hub/api/users/([^/]+)                    other admin culler; own people server
POST    /hub/api/users/([^/]+)                    other admin; own admin check
PATCH   /hub/api/users/([^/]+)                    other admin; own admin
DELETE  /hub/api/users/([^/]+)                    other admin; own admin check
GET     /hub/api/users/([^/]+)/server             other admin culler; own people
GET     /hub/api/users/([^/]+)/server/progress    other admin; own people
POST    /hub/api/users/([^/]+)/server             other none; own roles
PUT     /hub/api/users/([^/]+)/server             other admin; own people
PATCH   /hub/api/users/([^/]+)/server             other admin; own people
DELETE  /hub/api/users/([^/]+)/server             other admin culler; own people
GET     /hub/api/users/([^/]+)/servers/([^/]*)    other admin culler; own people
GET     /hub/api/users/([^/]+)/servers/([^/]*)/progress       other admin; own people
POST    /hub/api/users/([^/]+)/servers/([^/]*)    other none; own roles
PUT     /hub/api/users/([^/]+)/servers/([^/]*)    other admin; own people
PATCH   /hub/api/users/([^/]+)/servers/([^/]*)    other admin; own people
DELETE  /hub/api/users/([^/]+)/servers/([^/]*)    other admin culler; own people
GET     /hub/api/users/([^/]+)/tokens             other none; own people
POST    /hub/api/users/([^/]+)/tokens             other none; own people
GET     /hub/api/users/([^/]+)/tokens/([^/]*)     other none; own people
DELETE  /hub/api/users/([^/]+)/tokens/([^/]*)     other none; own people
POST    /hub/api/users/([^/]+)/activity           other admin; own people server check
POST    /hub/api/users/([^/]+)/admin-access       none
GET     /hub/api/users/([^/]+)/shared             other none; own people
GET     /hub/api/users/([^/]+)/shared/([^/]+)/([^/]*)         none
DELETE  /hub/api/users/([^/]+)/shared/([^/]+)/([^/]*)         none
GET     /hub/api/groups                           admin
POST    /hub/api/groups                           admin
GET     /hub/api/groups/([^/]+)                   admin
POST    /hub/api/groups/([^/]+)                   admin
DELETE  /hub/api/groups/([^/]+)                   admin
POST    /hub/api/groups/([^/]+)/users             admin
DELETE  /hub/api/groups/([^/]+)/users             admin
PUT     /hub/api/groups/([^/]+)/properties        admin
GET     /hub/api/groups/([^/]+)/shared            none
GET     /hub/api/groups/([^/]+)/shared/([^/]+)/([^/]*)        none
DELETE  /hub/api/groups/([^/]+)/shared/([^/]+)/([^/]*)        none
GET     /hub/api/shares/([^/]+)                   other none; own people
POST    /hub/api/shares/([^/]+)                   none
PATCH   /hub/api/shares/([^/]+)                   none
DELETE  /hub/api/shares/([^/]+)                   none
GET     /hub/api/shares/([^/]+)/([^/]*)           none
POST    /hub/api/shares/([^/]+)/([^/]*)           none
PATCH   /hub/api/shares/([^/]+)/([^/]*)           none
DELETE  /hub/api/shares/([^/]+)/([^/]*)           none
GET     /hub/api/share-codes/([^/]+)              other none; own people
POST    /hub/api/share-codes/([^/]+)              none
DELETE  /hub/api/share-codes/([^/]+)              none
GET     /hub/api/share-codes/([^/]+)/([^/]*)      none
POST    /hub/api/share-codes/([^/]+)/([^/]*)      none
DELETE  /hub/api/share-codes/([^/]+)/([^/]*)      none
GET     /hub/api/authorizations/cookie/([^/]+)(?:/([^/]+))?   none
GET     /hub/api/authorizations/token             everybody but nobody
POST    /hub/api/authorizations/token             none
GET     /hub/api/authorizations/token/([^/]+)     none
POST    /hub/api/authorizations/token/([^/]+)     everybody
GET     /hub/api/oauth2/authorize                 none
POST    /hub/api/oauth2/authorize                 none
POST    /hub/api/oauth2/token                     everybody
"""
SEGMENTS = {"groups": "walls", "services": "culler", "cookie": "jupyterhub-hub-login", "shared": "vera", "user-redirect": "lab",
            "token": "abc", "servers": "", "error": "404"}  # fmt: skip
SPARING = {"admin", "culler"}             # who may change other people's things tries it on somebody who has none
FORM = {"tier": "enormous", "username": "nobody-here", "password": "wrong"}
ORDER = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")


def table() -> dict[Route, dict[str, set[str]]]:
    found = {}
    for line in HUB.strip().splitlines():
        method, pattern, who = line.split(None, 2)
        parts = who.split("; ") if who.startswith("other ") else ["other " + who, "own " + who]
        found[Route(method, pattern.replace("\\\\", "\\"))] = {
            part.split()[0]: _callers(part.split()[1:]) for part in parts}  # fmt: skip
    return found


def _callers(words: list[str]) -> set[str]:
    plus, _, minus = " ".join(words).partition(" but ")
    return set().union(*(SETS.get(one, {one}) for one in plus.split())) - set(minus.split())


@dataclass
class Caller:
    """Somebody with a token, and with the cookies of a login where it is a person."""

    name: str
    account: str
    token: str = ""
    visit: Visit | None = None

    def ask(self, url: str, method: str, path: str, *, body: object = None) -> requests.Response:
        asked = {"timeout": 30, "allow_redirects": False}
        if self.visit is None or "/api" in path:
            headers = {"Authorization": f"token {self.token}"} if self.token else {}
            return requests.request(method, url + path, headers=headers, json=body, **asked)
        page = {} if method == "GET" else {"params": {"_xsrf": self.visit._xsrf()}, "data": FORM}
        return self.visit._session.request(method, url + path, **page, **asked)


def past(answer: requests.Response) -> bool:
    """Whether the answer is more than a closed door; the tier that does not exist is asked for behind it."""
    away = answer.is_redirect and ("/hub/login" in answer.headers["Location"] or "oauth2/authorize" in answer.headers["Location"])
    return not away and (answer.status_code not in REFUSED or "choose one of" in answer.text)


@pytest.fixture(scope="module")
def house(hub_needs):
    pytest.importorskip("ailab_kernel.service")
    with started(service="on") as running:
        yield running


@pytest.fixture(scope="module")
def vera(house):
    """The person whose things all others try to reach; her server runs."""
    visit = house.person("vera", "student")
    visit.choose("pilot")
    return visit


@pytest.fixture(scope="module")
def callers(house, vera):
    people = {role: house.person(f"one-{role}", role) for role in ROLES}
    people["no-role"] = house.person("nadine", "student")
    done = people["admin"].api("DELETE", "/groups/student/users", body={"users": ["nadine"]})
    assert done.ok, done.text
    assert people["admin"].api("POST", "/users/spare").ok
    server = people["data-scientist"]
    server.choose("pilot")
    vera.wait()
    server.wait()
    own = server.run("import os; os.environ['JUPYTERHUB_API_TOKEN']", kernel=server.kernel()).strip("'")
    services = {one.environ().get("JUPYTERHUB_SERVICE_NAME"): one.environ().get("JUPYTERHUB_API_TOKEN")
                for one in psutil.process_iter() if _is_service_of(one, house.url)}  # fmt: skip
    found = [Caller("nobody", ""), Caller("check", "ailab-check", (house.private / "check.token").read_text()),
             Caller("server", "one-data-scientist", own),
             *(Caller(name, "one-student", services[name]) for name in ("culler", "ailab")),
             *(Caller(name, visit._name, visit._token, visit) for name, visit in reversed(people.items()))]  # fmt: skip
    assert {one.name for one in found} == SETS["everybody"]
    return found


def _is_service_of(process: psutil.Process, url: str) -> bool:
    try:
        told = process.environ()
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return told.get("AILAB_HUB_URL") == url and "JUPYTERHUB_SERVICE_NAME" in told


def parts(route: Route, account: str, ids: dict[str, str]) -> list[str]:
    """What goes into the free parts of a route, by the word before each."""
    words = route.pattern.replace("(?P<user_name>[^/]+)", "([^/]+)").split("/")
    if route.pattern.startswith("/(user"):
        return [account]
    free = [before for before, word in pairwise(words) if word.startswith("([") or word == "(.*)?"]
    return [ids.get("token", "a0") if one == "tokens" else SEGMENTS.get(one, "x" if "(" in one else account) for one in free]


def test_every_route_of_the_hub_is_in_the_table():
    assert set(walls.routes("hub")) == set(table())


# what a person's server answers to anybody: its version, which the hub asks for, the program's own files, and ways to
# other addresses, which are not entered
OPEN = {"/user/NAME/api$", "/user/NAME/static/(.*)$", "/user/NAME/static/lab/(.*)$", "/user/NAME/logout$",
        "/user/NAME/.*/$", "/user/NAME/?$", "/user/NAME/api/notebooks/?(.*)$"}  # fmt: skip
SILENT = "/user/NAME/lab/api/licenses/(.*)$"    # jupyterlab_server 2.28 refuses and forgets to answer


def test_nobody_enters_another_persons_server(house, vera, callers):
    outcomes, unexpected = Counter(), []
    trying = [one for one in callers if one.name in {"nobody", "admin", "data-scientist", "server", "check", "ailab"}]
    for route in walls.routes("server"):
        if not route.pattern.startswith("/user/NAME/") or route.pattern == SILENT:
            continue
        path = route.path().replace("/NAME/", "/vera/")
        for caller in trying:
            headers = {"Authorization": f"token {caller.token}"} if caller.token else {}
            answer = requests.request(route.method, house.url + path, headers=headers, timeout=30, allow_redirects=False)
            inside = past(answer) and answer.status_code != 503
            outcomes["past" if inside else "refused"] += 1
            if inside and route.pattern not in OPEN:
                unexpected.append(f"{caller.name} {route.method} {path}: {answer.status_code} {answer.text[:80]}")
    assert not unexpected, "\n".join(unexpected)
    assert vera.lab("GET", "/api/contents").ok, "the door is not simply shut"
    sys.stdout.write(f"servers: {dict(outcomes)}\n")


def test_another_persons_server_sends_a_browser_away(house, vera, callers):
    for caller in callers:
        if caller.visit and caller.account != "vera":
            answer = caller.visit._get("/user/vera/lab")
            assert answer.status_code == 403, caller.name


def test_nobody_gets_further_in_the_trusted_process_than_the_role(house, callers):
    """The service's own tests ask with made-up people; here the hub says who is asking."""
    from ailab_kernel.service import archive_routes, catalog_routes

    asked, outcomes, unexpected = examples("0" * 64), Counter(), []
    witness = Caller("witness", "", (house.private / "witness.token").read_text())
    may = {**MAY, "witness": {Act.WITNESS}}
    for route in (*catalog_routes.router.routes, *archive_routes.router.routes):
        act, = [one.call.act for one in route.dependant.dependencies if hasattr(one.call, "act")]
        for method in route.methods:
            where, what = asked[method, route.path]
            for caller in (*callers, witness):
                headers = {"Authorization": f"token {caller.token}"} | what.get("headers", {})
                answer = requests.request(method, f"{house.url}/services/ailab/{where}", timeout=60,
                                          **(what | {"headers": headers}))
                role = "data-scientist" if caller.name == "server" else caller.name
                expected = set() if act in may.get(role, ()) else {401} if role in {"nobody", "check", "culler", "ailab"} else {403}
                outcomes[answer.status_code] += 1
                refused = answer.status_code in {401, 403}
                if refused != bool(expected) or (refused and answer.status_code not in expected):
                    unexpected.append(f"{caller.name} {method} {where}: {answer.status_code} {answer.text[:120]}")
    assert not unexpected, "\n".join(unexpected)
    sys.stdout.write(f"service: {dict(outcomes)}\n")


def test_nobody_gets_further_in_the_hub_than_the_table_says(house, vera, callers):
    """The last of these tests: it stops servers and removes people."""
    expected = table()
    admin = next(one for one in callers if one.name == "admin")
    outcomes: Counter = Counter()
    unexpected = []
    for caller in callers:
        for route in sorted(expected, key=lambda one: (ORDER.index(one.method), one.pattern)):
            if route.pattern == "/hub/logout":
                continue
            for whose, account in (("other", "spare" if caller.name in SPARING else "vera"), ("own", caller.account)):
                path = route.path(*parts(route, account or "x", _ids(caller, vera, route, whose=whose)))
                if whose == "own" and (not account or account not in path or caller.name in {"culler", "ailab"}):
                    continue
                _renew(admin, caller, route, house.url)
                answer = caller.ask(house.url, route.method, path, body={"tier": "enormous"} if "server" in path else {})
                inside = past(answer)
                outcomes["past" if inside else "refused"] += 1
                if inside != (caller.name in expected[route][whose]):
                    unexpected.append(f"{caller.name} {whose} {route.method} {path}: {answer.status_code} {answer.text[:80]}")
    assert not unexpected, "\n".join(unexpected)
    assert outcomes.total() > 1300
    sys.stdout.write(f"hub: {dict(outcomes)}\n")


def _ids(caller: Caller, vera: Visit, route: Route, *, whose: str) -> dict[str, str]:
    """A token that there is, where the route is about one."""
    if "/tokens/" not in route.pattern or (whose == "own" and not caller.visit):
        return {}
    owner = caller.visit if whose == "own" else vera
    return {"token": owner.api("POST", f"/users/{owner._name}/tokens", body={"expires_in": 60}).json()["id"]}


def _renew(admin: Caller, caller: Caller, route: Route, url: str) -> None:
    """Make again what the last call may have taken away."""
    if caller.name == "admin" and (route.method != "GET" or "groups" in route.pattern):
        for path in ("/hub/api/users/spare", "/hub/api/groups/walls"):
            admin.ask(url, "POST", path, body={})
