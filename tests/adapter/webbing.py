"""The web's door for tests: a whole adapter with certificates and tokens, and curl to ask it with."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ailab_kernel.adapter.running import Adapter
from ailab_kernel.workspace import Workspace, open_workspace
from tests.services import need_service
from tests.tls import certificate

TOKENS = {name: f"{name}-token-for-tests-only" for name in ("pacs", "asker", "watcher", "desk")}
PLAN = """
listen = "127.0.0.1:0"
[web]
listen = "127.0.0.1:0"
[web.tls]
cert = "{cert}"
key = "file:{key}"
[[web.bearer]]
name = "pacs"
token = "file:{folder}/pacs.token"
may = ["store"]
[[web.bearer]]
name = "asker"
token = "file:{folder}/asker.token"
may = ["infer"]
[[web.bearer]]
name = "watcher"
token = "file:{folder}/watcher.token"
may = ["watch"]
[[web.bearer]]
name = "desk"
token = "file:{folder}/desk.token"
may = ["watch", "again"]
[[caller]]
ae = "SCANNER"
[[destination]]
name = "pacs"
url = "{pacs}"
[[rule]]
name = "ct"
run = "infer"
when = {{Modality = "CT"}}
series = {{Modality = "CT"}}
complete = {{quiet_s = 3000}}
send = ["pacs"]
"""


@dataclass
class House:
    """A running adapter with a web's door."""

    adapter: Adapter
    workspace: Workspace
    cert: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.adapter.web_port}"

    @property
    def ledger(self):
        return self.adapter.inbox.ledger


def plan_of(folder: Path, **changed: str) -> tuple[Path, Path]:
    """Write certificate, tokens and plan; the plan's path, and the certificate's."""
    cert, key = certificate(folder, "web")
    key.chmod(0o600)
    for name, token in TOKENS.items():
        path = folder / f"{name}.token"
        path.write_text(token + "\n")
        path.chmod(0o600)
    plan = folder / "adapter.toml"
    plan.write_text(PLAN.format(**{"cert": cert, "key": key, "folder": folder, "pacs": f"folder:{folder / 'far'}"} | changed))
    return plan, cert


@contextmanager
def house(folder: Path, **changed: str) -> Iterator[House]:
    """An adapter without workers, its home and plan in a folder."""
    plan, cert = plan_of(folder, **changed)
    workspace = open_workspace(home=folder / "lab")
    with Adapter(workspace, plan, workers=0) as adapter:
        yield House(adapter, workspace, cert)


def curl(here: House, path: str, *options: str, who: str = "", ca: bool = True) -> tuple[int, str]:
    """Ask by curl; the status (0 where there is no answer) and the body."""
    need_service("curl", package="curl")
    told = ["-H", f"Authorization: Bearer {TOKENS[who]}"] if who else []
    trust = ["--cacert", str(here.cert)] if ca else []
    done = subprocess.run(["curl", "-sS", *trust, *told, *options, "-w", "\n%{http_code}", here.url + path],
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    body, _, code = done.stdout.rpartition("\n")
    return int(code or 0), body


def multipart(folder: Path, *bodies: bytes, boundary: str = "mark", kind: str = "application/dicom") -> tuple[str, ...]:
    """Options for curl: a ``multipart/related`` body with these parts."""
    path = folder / "body"
    path.write_bytes(b"".join(f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + body + b"\r\n" for body in bodies)
                     + f"--{boundary}--\r\n".encode())  # fmt: skip
    return ("--data-binary", f"@{path}", "-H", f'Content-Type: multipart/related; type="{kind}"; boundary={boundary}')


def reasons(body: str) -> list[int]:
    """Failure Reasons (0008,1197) of an answer."""
    answer = json.loads(body)
    items = [*answer.get("00081198", {}).get("Value", []), *answer.get("0008119A", {}).get("Value", [])]
    return [one["00081197"]["Value"][0] for one in items]
