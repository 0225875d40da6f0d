"""Reporting systems that tests start: an HL7 listener from npm. The FHIR server is in tests/context."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hub_config import proxy
from tests.hub.hubs import free_ports
from tests.hub.providers import PLACE
from tests.services import need_service
from tests.tls import certificate


@dataclass(frozen=True)
class Listener:
    """A running listener."""

    url: str
    out: Path

    @property
    def came(self) -> list[dict]:
        return [json.loads(line) for line in self.out.read_text().splitlines()] if self.out.exists() else []


@contextmanager
def hl7(folder: Path, *answers: str, tls: bool = False) -> Iterator[Listener]:
    """A listener that answers AA, or one after the other as it is told."""
    need_service(str(PLACE / "node_modules" / "node-hl7-server"), package="none: make .venv/provider-ready")
    folder.mkdir(parents=True, exist_ok=True)
    settings, out, port = folder / "mllp.json", folder / "came.jsonl", free_ports()
    cert, key = certificate(folder, "ris")
    files = {"cert": str(cert), "key": str(key)} if tls else {}
    settings.write_text(json.dumps({"port": port, "answers": answers or ("AA",), "out": str(out), **files}))
    with (folder / "mllp.log").open("wb") as log:
        running = subprocess.Popen([proxy.node(), str(Path(__file__).parent / "mllp.cjs"), str(settings), str(PLACE)],
                                   stdout=subprocess.PIPE, stderr=log)
        try:
            assert running.stdout.readline() == b"ready\n", (folder / "mllp.log").read_text()
            yield Listener(f"mllps://127.0.0.1:{port}/RIS?ca={cert}" if tls else f"mllp://127.0.0.1:{port}/RIS", out)
        finally:
            running.terminate()
            running.communicate(timeout=30)
