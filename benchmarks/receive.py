"""Receiving beside dcmtk's storescp and Orthanc: ``python -m benchmarks.receive`` (a minute; needs root and both).

dcmsend sends 512×512 CT images with TCP_NODELAY=1 on both ends, in interleaved rounds, over 1 and over 4 associations.
Everything runs in a network namespace of its own, whose only interface is loopback, so that nothing stands between.
Ours runs twice: durable (fsync of file, folder and ledger before each acknowledgement), and with the promise of
storescp, which is none. Orthanc runs without fsync of its files (``SyncStorageArea`` off), its fastest way.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from tests.adapter.receiving import image

ROOT = Path(__file__).parents[1]
PAGE, INSIDE = ROOT / "docs" / "performance.md", "--inside"
IMAGES, ROUNDS, LANES = 160, 5, (1, 4)
DURABLE, QUICK, STORESCP, ORTHANC = "AI-LAB, durable", "AI-LAB, without fsync", "dcmtk storescp", "Orthanc"
PORTS = {DURABLE: 11112, QUICK: 11113, STORESCP: 11114, ORTHANC: 11115}
OURS = """
import sys, time
from pathlib import Path
import sqlalchemy as sa
from ailab_kernel.adapter.ledger import Ledger
from ailab_kernel.adapter.receive import Caller, Callers, Inbox, Place, Receiver
home, port, durable = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1"
ledger = Ledger(f"sqlite:///{home}.sqlite")
if not durable:
    ledger.engine.dispose()                    # connections from now on promise nothing either
    sa.event.listen(ledger.engine, "connect", lambda one, _: one.execute("PRAGMA synchronous=OFF"))
with Inbox(home, ledger, durable=durable) as inbox:
    with Receiver(Place(port=port), inbox, Callers("BENCH", (Caller("*"),))):
        time.sleep(3600)
"""


def servers(folder: Path) -> dict[str, list[str]]:
    """Command of each server."""
    config = {
        "Name": "bench", "StorageDirectory": str(folder / "orthanc"), "IndexDirectory": str(folder / "orthanc"),
        "HttpServerEnabled": False, "DicomPort": PORTS[ORTHANC], "DicomAet": "BENCH", "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True, "StoreMD5ForAttachments": False, "SyncStorageArea": False, "TcpNoDelay": True,
        "OverwriteInstances": True,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    (folder / "storescp").mkdir()
    ours = [sys.executable, "-c", OURS]
    return {
        DURABLE: [*ours, str(folder / "durable"), str(PORTS[DURABLE]), "1"],
        QUICK: [*ours, str(folder / "quick"), str(PORTS[QUICK]), "0"],
        STORESCP: ["storescp", "--fork", "--bit-preserving", "-aet", "BENCH", "-od", str(folder / "storescp"),
                   str(PORTS[STORESCP])],
        ORTHANC: ["Orthanc", str(folder / "orthanc.json")],
    }  # fmt: skip


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server, from when it listens to the end of the block."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          env=os.environ | {"TCP_NODELAY": "1"}) as process:  # fmt: skip
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def write(folder: Path, first: int) -> list[Path]:
    """A round's images, each new to every server, in one folder a lane."""
    noise = np.random.default_rng(first)
    for number in range(IMAGES):
        pixels = noise.integers(-1000, 1000, (512, 512), dtype=np.int16)
        one = image(first + number, Rows=512, Columns=512, PixelData=pixels.tobytes())
        lane = folder / str(number % max(LANES))
        lane.mkdir(parents=True, exist_ok=True)
        one.save_as(lane / f"{number}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def seconds(port: int, lanes: list[Path], associations: int) -> float:
    """Send a round over so many associations."""
    some = [lanes[number::associations] for number in range(associations)]
    begin = time.perf_counter()
    sending = [subprocess.Popen(["dcmsend", "-aec", "BENCH", "127.0.0.1", str(port), "+sd", *map(str, one)],
                                env=os.environ | {"TCP_NODELAY": "1"}) for one in some]  # fmt: skip
    if any(one.wait() for one in sending):
        sys.exit("a server did not take everything")
    return time.perf_counter() - begin


def measure() -> dict[tuple[str, int], list[float]]:
    """Images a second of each server and number of associations, of every round."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        folder = Path(name)
        for tool, command in servers(folder).items():
            opened.enter_context(running(command, PORTS[tool]))
        for number in range(ROUNDS * len(LANES)):
            lanes, associations = write(folder / "in", 1 + number * IMAGES), LANES[number % len(LANES)]
            for tool, port in PORTS.items():
                found[tool, associations].append(IMAGES / seconds(port, lanes, associations))
            shutil.rmtree(folder / "in")
    return found


def table(found: Mapping[tuple[str, int], list[float]]) -> str:
    """Markdown: medians, and ratios of the same rounds."""
    lines = ["| associations | server | images/s | our durable over it | ours without fsync over it |",
             "|---|---|---|---|---|"]  # fmt: skip
    for associations in LANES:
        for tool in PORTS:
            rates = found[tool, associations]
            ratios = [statistics.median(a / b for a, b in zip(found[ours, associations], rates, strict=True))
                      for ours in (DURABLE, QUICK)]  # fmt: skip
            cells = (associations, tool, f"{statistics.median(rates):,.0f}", *(f"{ratio:.2f}" for ratio in ratios))
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def put(body: str) -> None:
    """Put the table between its marks in docs/performance.md."""
    begin, end = "<!-- receive: written by benchmarks/receive.py -->\n", "<!-- receive: end -->\n"
    text, block = PAGE.read_text(), f"{begin}\n{body}\n{end}"
    found = re.search(f"{re.escape(begin)}.*{re.escape(end)}", text, re.DOTALL)
    PAGE.write_text(text.replace(found.group(), block) if found else f"{text.rstrip()}\n\n## Receiving\n\n{block}")


def main() -> None:
    """Run in a network of its own, and print and keep the table."""
    missing = [name for name in ("dcmsend", "storescp", "Orthanc", "unshare", "ip") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        sys.stderr.write(f"nothing is measured: root and {', '.join(missing) or 'a network namespace'} are needed\n")
        return
    if INSIDE in sys.argv:
        body = table(measure())
        sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n{body}")
        put(body)
        return
    inside = f"ip link set lo up && exec {sys.executable} -m benchmarks.receive {INSIDE}"
    subprocess.run(["unshare", "--net", "sh", "-c", inside], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
