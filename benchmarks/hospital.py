"""A hospital's day in short: ``python -m benchmarks.hospital [--minutes 3] [--rate 2] [--faults 1]``.

``make soak`` is an hour of it.

Phantom studies are routed to ``ailab adapter serve`` by dcmtk and by a real Orthanc, at so many a minute; some come
twice, in disorder, over an association that is killed halfway and sent again, or with an instance that fits no volume.
So many times a minute something breaks: the adapter or what works for it is killed (-9), the PACS is gone, hangs, or
drops the line in the middle, strangers hold its sockets or send rubbish. At the end every study that was sent must be
done (or failed, with its reason, where it cannot be worked on), and its SEG, SR and PDF be in the PACS once.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from pydicom import Dataset
from pydicom.uid import generate_uid

from ailab_kernel.adapter.ledger import Work, Worklist
from ailab_kernel.adapter.place import ledger_of
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.workspace import open_workspace
from tests.services import Orthanc, orthanc

TEMPLATES, SIZE, SPACING = 6, (24, 96, 96), (10.0, 3.9, 3.7)
PLAN = """
listen = "127.0.0.1:{port}"
[[caller]]
ae = "*"
[[destination]]
name = "pacs"
url = "{url}"
[[rule]]
name = "heart-wall"
run = "infer"
parameters = {{model = "heart-wall@general"}}
when = {{Modality = "CT"}}
series = {{Modality = "CT"}}
complete = {{quiet_s = 3}}
send = ["pacs"]
"""
SERVE = ("import sys; sys.argv = ['ailab', 'adapter', 'serve', '--workers', sys.argv[1]]; "
         "from ailab_kernel.cli.main import main; main()")  # fmt: skip
GRACE_S = 600.0
RESULTS = ("SEG", "SR", "DOC")


class Gate:
    """The way to the PACS: open, closed, silent, or cut after some bytes."""

    def __init__(self, port: int) -> None:
        self.mode, self._to = "open", port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._door.accept()
                threading.Thread(target=self._pass, args=(line, self.mode), daemon=True).start()

    def _pass(self, line: socket.socket, mode: str) -> None:
        with line, suppress(OSError):
            if mode == "closed":
                return
            if mode == "silent":
                time.sleep(20)
                return
            with socket.create_connection(("127.0.0.1", self._to)) as pacs:
                back = threading.Thread(target=_copy, args=(pacs, line, 1 << 62), daemon=True)
                back.start()
                _copy(line, pacs, 20_000 if mode == "cut" else 1 << 62)
                if mode != "cut":
                    back.join()

    def close(self) -> None:
        self._door.close()


def _copy(source: socket.socket, target: socket.socket, most: int) -> None:
    with suppress(OSError):
        while most > 0 and (data := source.recv(min(65536, most))):
            target.sendall(data)
            most -= len(data)
        if most > 0:
            target.shutdown(socket.SHUT_WR)


@dataclass
class Day:
    """Everything that is on during a run."""

    folder: Path
    port: int
    pacs: Orthanc
    gate: Gate
    chance: random.Random
    workers: int = 1
    server: subprocess.Popen = None
    sent: dict[str, str] = field(default_factory=dict)           # StudyInstanceUID, how it was sent
    faults: Counter = field(default_factory=Counter)
    ready_s: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)              # MB of the adapter and its children
    started: int = 0

    def serve(self) -> None:
        """Start the adapter and wait until it accepts."""
        began = time.monotonic()
        ours = {"AILAB_HOME": str(self.folder / "lab"), "TCP_NODELAY": "1"}
        with (self.folder / "adapter.log").open("a") as log:
            self.server = subprocess.Popen([sys.executable, "-c", SERVE, str(self.workers)], cwd=self.folder, text=True,
                                           stderr=log, stdout=subprocess.PIPE, env=os.environ | ours)  # fmt: skip
        assert "receives" in self.server.stdout.readline(), (self.folder / "adapter.log").read_text()
        self.ready_s.append(time.monotonic() - began)

    def end(self, how: int = signal.SIGTERM) -> None:
        self.server.send_signal(how)
        self.server.wait(120)
        self.server.stdout.close()

    def children(self) -> list[psutil.Process]:
        """Processes below the adapter; none while it is being started again."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.server.pid).children(recursive=True)
        return []

    def weigh(self) -> None:
        """Note the memory of the adapter and all below it."""
        total = 0
        with suppress(psutil.NoSuchProcess):
            for one in (psutil.Process(self.server.pid), *self.children()):
                total += one.memory_info().rss
            self.memory.append(total >> 20)


# ---- what is sent ----

def templates() -> list[list[Dataset]]:
    return [[ds for ds in make_objects(seed, style="general-hospital", size=SIZE, truth=False, spacing_mm=SPACING)]
            for seed in range(TEMPLATES)]  # fmt: skip


def study(day: Day, images: list[Dataset], number: int, *, broken: bool) -> tuple[str, list[Path]]:
    """A study of its own made of a template: its UID and files."""
    study_uid, series_uid, frame_uid = (generate_uid(entropy_srcs=[f"{day.folder} {number} {n}"]) for n in range(3))
    folder = day.folder / "sent" / str(number)
    folder.mkdir(parents=True)
    paths = []
    for n, ds in enumerate(images):
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study_uid, series_uid, frame_uid
        ds.PatientID = ds.AccessionNumber = f"H{number}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[f"{series_uid} {n}"])
        place = list(ds.ImagePositionPatient)
        if broken and n == len(images) // 2:
            ds.ImagePositionPatient = [place[0] + 40, place[1], place[2] + 3]    # lies beside the others
        paths.append(folder / f"{n:03d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
        ds.ImagePositionPatient = place
    return study_uid, paths


def _dcmtk(day: Day, tool: str, paths: list[Path], **popen) -> subprocess.Popen:
    aec = ["-aec", "AILAB"] if tool == "storescu" else ["-aec", "AILAB", "--no-halt"]
    return subprocess.Popen([tool, "-aet", "SCANNER", *aec, "127.0.0.1", str(day.port), *map(str, paths)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"TCP_NODELAY": "1"}, **popen)  # fmt: skip


def until_taken(day: Day, tool: str, paths: list[Path]) -> None:
    """As a modality does: again and again until everything was acknowledged."""
    for _ in range(30):
        sending = _dcmtk(day, tool, paths)
        said = sending.communicate(timeout=300)[1]
        if sending.returncode == 0 and not any(one in said for one in ("E:", "F:")):
            return
        time.sleep(5)
    raise AssertionError(f"nobody took it: {said[-500:]}")


def plain(day: Day, paths: list[Path]) -> None:
    until_taken(day, day.chance.choice(("dcmsend", "storescu")), paths)


def twice(day: Day, paths: list[Path]) -> None:
    for _ in range(2):
        plain(day, paths)


def shuffled(day: Day, paths: list[Path]) -> None:
    """In disorder, over two associations at once."""
    mixed = day.chance.sample(paths, len(paths))
    halves = [threading.Thread(target=until_taken, args=(day, "storescu", mixed[n::2])) for n in range(2)]
    for one in halves:
        one.start()
    for one in halves:
        one.join()


def aborted(day: Day, paths: list[Path]) -> None:
    """Killed in the middle; the modality sends all of it again."""
    sending = _dcmtk(day, "storescu", paths)
    time.sleep(day.chance.uniform(0.02, 0.2))
    sending.kill()
    sending.communicate()
    time.sleep(day.chance.uniform(1, 8))
    plain(day, paths)


def routed(day: Day, paths: list[Path]) -> None:
    """By Orthanc, which has it already and sends it on."""
    series = {day.pacs.rest("/instances", method="POST", raw=path.read_bytes())["ParentSeries"] for path in paths}
    for _ in range(30):
        try:
            day.pacs.rest("/modalities/AILAB/store", method="POST", body=sorted(series))
        except OSError:
            time.sleep(5)
        else:
            return
    raise AssertionError("Orthanc could not send it")


WAYS = {plain: 4, twice: 1, shuffled: 1, aborted: 2, routed: 3}


# ---- what breaks ----

def kill_adapter(day: Day) -> None:
    orphans = day.children()
    day.end(signal.SIGKILL)
    time.sleep(day.chance.uniform(0, 2))
    day.serve()
    psutil.wait_procs(orphans, timeout=60)


def kill_child(day: Day) -> None:
    for one in day.chance.sample(found, 1) if (found := day.children()) else ():
        with suppress(psutil.NoSuchProcess):
            one.kill()


def _gate(mode: str):
    def fault(day: Day) -> None:
        day.gate.mode = mode
        time.sleep(day.chance.uniform(5, 15))
        day.gate.mode = "open"

    fault.__name__ = f"pacs {mode}"
    return fault


def strangers(day: Day) -> None:
    """150 sockets that say nothing, and rubbish."""
    lines = []
    with suppress(OSError):
        for n in range(150):
            lines.append(socket.create_connection(("127.0.0.1", day.port), timeout=5))
            if n % 10 == 0:
                lines[-1].sendall(day.chance.randbytes(500))
        time.sleep(5)
    for one in lines:
        one.close()


FAULTS = (kill_adapter, kill_child, _gate("closed"), _gate("silent"), _gate("cut"), strangers)


# ---- the day ----

@contextmanager
def hospital(folder: Path, seed: int, workers: int = 1) -> Iterator[Day]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        orthanc(folder / "orthanc", destinations={"AILAB": port}, settings={"DicomAet": "ORTHANC"}) as pacs,
        closing(Gate(pacs.http_port)) as gate,
    ):
        url = f"dicomweb+http://127.0.0.1:{gate.port}/dicom-web?timeout=10"
        (folder / "adapter.toml").write_text(PLAN.format(port=port, url=url))
        day = Day(folder, port, pacs, gate, random.Random(seed), workers)
        day.serve()
        try:
            yield day
        finally:
            day.end()


def send_all(day: Day, minutes: float, rate: float) -> None:
    """Studies at a rate, each on a thread of its own."""
    models, running = templates(), []
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        number, way = day.started, day.chance.choices(list(WAYS), list(WAYS.values()))[0]
        broken = way is plain and day.chance.random() < 0.2
        uid, paths = study(day, models[number % TEMPLATES], number, broken=broken)
        day.sent[uid] = "broken" if broken else way.__name__
        day.started += 1
        running.append(threading.Thread(target=way, args=(day, paths)))
        running[-1].start()
        time.sleep(day.chance.uniform(0.5, 1.5) * 60 / rate)
    for one in running:
        one.join()


def break_things(day: Day, rate: float, over: threading.Event, faults: tuple) -> None:
    while rate and not over.wait(day.chance.uniform(0.5, 1.5) * 60 / rate):
        fault = day.chance.choice(faults)
        day.faults[fault.__name__] += 1
        fault(day)


def works(day: Day) -> list[Work]:
    with ledger_of(open_workspace(home=day.folder / "lab")) as ledger:
        return [one for one in Worklist(ledger).all() if one.rule]


def settled(day: Day) -> bool:
    return all(one.state in ("done", "failed", "held") for one in works(day)) and len(works(day)) >= len(day.sent)


def verdict(day: Day, images: int = SIZE[0]) -> list[str]:
    """Everything that is not as it should be."""
    wrong, by_study = [], {}
    for one in works(day):
        by_study.setdefault(one.study_uid, []).append(one)
    for uid, way in day.sent.items():
        pieces = by_study.get(uid, [])
        states = [one.state for one in pieces]
        if "broken" in way:
            wrong += [f"{way}: {states}"] if states != ["failed"] or not pieces[0].reason else []
            continue
        found = Counter(day.pacs.rest(f"/series/{series}")["MainDicomTags"]["Modality"]
                        for series in _series(day.pacs, uid) for _ in _instances(day.pacs, series))  # fmt: skip
        # Where the line broke for longer than the rule waits, the part that had come was worked on before the whole;
        # what had not begun by then gave way to it, and has no results.
        made = [one for one in pieces if one.told.get("objects")]
        whole = max((one.told["instances"] for one in made), default=0)
        if set(states) != {"done"} or whole != images or any(found[name] != len(made) for name in RESULTS):
            wrong.append(f"{way}: {states}, {whole} of {images} images, in the PACS {dict(found)}")
    return wrong


def _series(pacs: Orthanc, uid: str) -> list[str]:
    return pacs.rest("/tools/find", method="POST", body={"Level": "Series", "Query": {"StudyInstanceUID": uid}})


def _instances(pacs: Orthanc, series: str) -> list[str]:
    return pacs.rest(f"/series/{series}")["Instances"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hospital", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=2.0, help="studies a minute")
    parser.add_argument("--faults", type=float, default=1.0, help="a minute; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only faults whose name holds this: kill, pacs, strangers")
    given = parser.parse_args()
    chosen = tuple(one for one in FAULTS if given.only in one.__name__)
    folder = Path(tempfile.mkdtemp(prefix="hospital-"))
    with hospital(folder, given.seed) as day:
        over, began = threading.Event(), time.monotonic()
        breaking = threading.Thread(target=break_things, args=(day, given.faults, over, chosen))
        sending = threading.Thread(target=send_all, args=(day, given.minutes, given.rate))
        breaking.start(), sending.start()
        while sending.is_alive():
            time.sleep(5)
            day.weigh()
        over.set()
        breaking.join()
        last = time.monotonic()
        while not settled(day) and time.monotonic() - last < GRACE_S:
            time.sleep(2)
        wrong = verdict(day)
        quarter = max(1, len(day.memory) // 4)
        early, late = np.mean(day.memory[:quarter]), np.mean(day.memory[-quarter:])
        print(f"{(last - began) / 60:.0f} minutes, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"studies: {len(day.sent)}, sent so: {dict(Counter(day.sent.values()))}")
        print(f"states: {dict(Counter(one.state for one in works(day)))}")
        print(f"faults: {dict(day.faults)}; accepting again after {max(day.ready_s):.1f} s at most")
        print(f"settled {time.monotonic() - last:.0f} s after the last was sent")
        print(f"memory of all processes: {early:.0f} MB in the first quarter, {late:.0f} MB in the last")
        print(*(wrong or ["nothing lost, nothing twice, nothing stuck"]), sep="\n")
    if not wrong:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
