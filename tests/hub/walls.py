"""Which routes there are, as the running applications list them, and callers who try them all.

Run as a program it prints the routes of the hub (``hub``) or of a person's server (``server``) as JSON.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


_GROUPS = {  # of the patterns that jupyterhub, jupyter_server and jupyterlab write, the longest first
    r"(?P<path>(?:(?:/[^/]+)+|/?))": "/x.txt", r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)": "a-b-c-d-e",
    r"(?P<session_id>\w+-\w+-\w+-\w+-\w+)": "a-b-c-d-e", r"(?P<action>restart|interrupt)": "restart",
    r"(?P<workspace>/workspaces/[a-zA-Z0-9\-\_]+)?": "", r"(?P<tree>/tree/.*)?": "", r"(?P<mode>lab|doc)": "lab",
    r"(robots\.txt|favicon\.ico)": "robots.txt", r"(favicon\.ico)": "favicon.ico", r"(robots\.txt)": "robots.txt",
    r"(?P<user_name>[^/]+)": "{}", r"(?P<user_path>/.*)?": "/lab", r"(user|services)": "user", r"(?:/([^/]+))?": "/{}",
    r"(?!/hub/).*": "/elsewhere", r"([^/]+)": "{}", r"([^/]*)": "{}", r"(\d+)": "404", r"(.*)?": "{}", r"(.*)": "x",
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Route:
    """A pattern of a tornado application, and one method that its handler has."""

    method: str
    pattern: str

    def path(self, *parts: str) -> str:
        """A path that the pattern matches, its free parts filled in, in their order."""
        told = self.pattern
        for group, filling in _GROUPS.items():
            told = told.replace(group, filling)
        told = re.sub(r"\(\?P<\w+>[^()]*\)|\(\\w\+\)", "x", told).removesuffix("$").replace("/?", "/").replace(".*", "x")
        given = [*parts, *("x" for _ in range(told.count("{}")))]
        path = told.format(*given)
        assert re.fullmatch(self.pattern, path), (self.pattern, path)
        return path


def routes(which: str, **environment: str) -> list[Route]:
    """Every route and method of an application, built anew in a process of its own as the hub's is built."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([sys.executable, "-m", "tests.hub.walls", which], cwd=ROOT, capture_output=True, text=True,
                              env=os.environ | {"AILAB_HOME": home, "JUPYTER_CONFIG_DIR": home} | environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return sorted({Route(method, pattern) for method, pattern in json.loads(done.stdout.splitlines()[-1])})


def of_handlers(pairs: list[tuple[str, type]]) -> list[tuple[str, str]]:
    from tornado.web import RequestHandler

    return [(method, pattern) for pattern, handler in pairs for method in METHODS
            if getattr(handler, method.lower()) is not RequestHandler._unimplemented_method]  # fmt: skip


def hub_routes() -> list[tuple[str, str]]:
    from jupyterhub.app import JupyterHub

    app = JupyterHub()
    app.load_config_file(str(ROOT / "hub_config" / "jupyterhub_config.py"))
    app.init_db()
    app.init_handlers()
    return of_handlers([(one[0], one[1]) for one in app.handlers])


def server_routes() -> list[tuple[str, str]]:
    from jupyterlab.labapp import LabApp

    server = LabApp.initialize_server(["--allow-root", "--no-browser", "--ServerApp.base_url=/user/NAME/"])
    rules = [rule for one in server.web_app.default_router.rules for rule in getattr(one.target, "rules", [])]
    return of_handlers([(rule.matcher.regex.pattern, rule.target) for rule in rules if hasattr(rule.matcher, "regex")])


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"hub": hub_routes, "server": server_routes}[sys.argv[1]]()))
