"""STOW-RS, asked by curl, dicomweb-client and Orthanc: the same inbox and the same promises as C-STORE."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread

from ailab_kernel.adapter.ledger import ASIDE, CONFLICT, KEPT, Ledger
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.web import multipart as parser
from ailab_kernel.adapter.web.stow import Intake, answer
from ailab_kernel.ground.errors import ProtocolBroken
from tests.adapter.besieging import mutant
from tests.adapter.receiving import CT, ROOT, dcmtk, files, image
from tests.adapter.test_receive import dataset
from tests.adapter.webbing import TOKENS, House, curl, house, multipart, plan_of, reasons
from tests.services import need_service, orthanc

STUDIES = "/dicom-web/studies"


@pytest.fixture
def here(tmp_path):
    with house(tmp_path) as one:
        yield one


def eventually(what) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def store(here: House, *datasets: Dataset, study: str | None = None) -> Dataset:
    """Store by dicomweb-client; its answer."""
    with requests.Session() as session:
        session.verify, session.trust_env = str(here.cert), False
        session.headers["Authorization"] = f"Bearer {TOKENS['pacs']}"
        client = DICOMwebClient(f"{here.url}/dicom-web", session=session, chunk_size=10_000)
        client.set_http_retry_params(retry=False)
        return client.store_instances(datasets, study_instance_uid=study)


def test_dicomweb_client_stores_and_the_bytes_are_those_of_c_store(here, tmp_path):
    paths = files(tmp_path / "in", *(image(number) for number in range(1, 6)))
    answer = store(here, *map(dcmread, paths))
    assert "FailedSOPSequence" not in answer
    assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == [f"{ROOT}.1.1.{n}" for n in range(1, 6)]
    kept = here.ledger.arrivals(state=KEPT)
    assert [dataset(here.adapter.inbox.path(one.content)) for one in kept] == [dataset(path) for path in paths]
    assert {one.sender for one in kept} == {"pacs@127.0.0.1"}
    assert "Success" in dcmtk("storescu", here.adapter.port, paths=paths)          # the same again, by the other door
    assert len(here.ledger.arrivals()) == 5


def test_the_same_again_changes_nothing_and_other_bytes_are_a_conflict(here, tmp_path):
    first, other = map(dcmread, files(tmp_path / "in", image(1), image(1, InstanceNumber=7)))
    for one in (first, first, other, first, other):
        store(here, one, study=f"{ROOT}.1")
    assert [one.state for one in here.ledger.arrivals()] == [KEPT, CONFLICT]


def test_each_instance_has_its_own_answer(here, tmp_path):
    """All, some and none: 200, 202 and 409, and the reason of each."""
    good, elsewhere = (path.read_bytes() for path in files(tmp_path / "in", image(1), image(1, study=2)))
    query = image(3)
    query.SOPClassUID = query.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.2.2.1"
    wrong, = files(tmp_path / "query", query)
    of_one = f"{STUDIES}/{ROOT}.1"
    code, body = curl(here, of_one, *multipart(tmp_path, good), who="pacs")
    assert (code, reasons(body)) == (200, [])
    assert json.loads(body)["00081199"]["Value"][0]["00081155"]["Value"] == [f"{ROOT}.1.1.1"]
    code, body = curl(here, of_one, *multipart(tmp_path, good, elsewhere, b"junk" * 40, wrong.read_bytes()), who="pacs")
    assert (code, reasons(body)) == (202, [0xA900, 0x0122, 0xC000])
    code, body = curl(here, of_one, *multipart(tmp_path, elsewhere, b""), who="pacs")
    assert (code, reasons(body)) == (409, [0xA900, 0xC000])
    aside = here.ledger.arrivals(state=ASIDE)
    assert {one.reason for one in aside} >= {"of another study than the request names"}
    assert all(here.adapter.inbox.path(one.content, state=ASIDE).is_file() for one in aside)
    assert len(here.ledger.arrivals(state=KEPT)) == 1


def test_an_instance_that_does_not_say_what_it_is_is_set_aside(here, tmp_path):
    path = tmp_path / "bare.dcm"
    image(1).save_as(path)                     # no Media Storage SOP Class and Instance UID
    code, body = curl(here, STUDIES, *multipart(tmp_path, path.read_bytes()), who="pacs")
    assert (code, reasons(body)) == (409, [0xC000])
    one, = here.ledger.arrivals()
    assert (one.state, one.reason) == (ASIDE, "no PS3.10 file whose meta information says what it is")
    assert here.adapter.inbox.path(one.content, state=ASIDE).read_bytes().endswith(path.read_bytes())


def test_an_unknown_encoding_is_refused_by_its_own_reason(here, tmp_path):
    path, = files(tmp_path / "in", image(1))
    odd = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.77")
    code, body = curl(here, STUDIES, *multipart(tmp_path, odd), who="pacs")
    assert (code, reasons(body)) == (409, [0xC122])
    assert not here.ledger.arrivals()


@pytest.mark.parametrize(("tool", "option"), [
    ("dcmcjpls", ""), ("dcmcjpeg", "+e1"), ("dcmcrle", ""), ("dcmconv", "+td"), ("dcmconv", "+tb"), ("dcmconv", "+ti")])
def test_every_encoding_is_kept(here, tmp_path, tool, option):
    need_service(tool, package="dcmtk")
    plain, = files(tmp_path / "in", image())
    coded = tmp_path / "coded.dcm"
    subprocess.run([tool, *([option] if option else []), plain, coded], check=True, capture_output=True)
    code, body = curl(here, STUDIES, *multipart(tmp_path, coded.read_bytes()), who="pacs")
    assert code == 200, body
    one, = here.ledger.arrivals()
    assert one.syntax == dcmread(coded).file_meta.TransferSyntaxUID
    assert dataset(here.adapter.inbox.path(one.content)) == dataset(coded)


def test_one_instance_may_come_without_parts_and_the_answer_as_xml(here, tmp_path):
    path, = files(tmp_path / "in", image(1))
    code, body = curl(here, STUDIES, "--data-binary", f"@{path}", "-H", "Content-Type: application/dicom",
                      "-H", "Accept: application/dicom+xml", who="pacs")  # fmt: skip
    assert code == 200
    from dicomweb_client.web import _load_xml_dataset, fromstring

    answer = _load_xml_dataset(fromstring(body.encode()))
    assert answer.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == f"{ROOT}.1.1.1"


def test_orthanc_stores_by_its_dicomweb_plugin(tmp_path):
    """Over plain HTTP on the loopback interface: Debian's Orthanc does not know our authority."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    plan, _ = plan_of(tmp_path)
    text = plan.read_text().replace('[web]\nlisten = "127.0.0.1:0"', f'[web]\nlisten = "127.0.0.1:{port}"')
    plan.write_text(re.sub(r"\[web\.tls\]\n.*\n.*\n", "", text))
    from ailab_kernel.adapter.running import Adapter
    from ailab_kernel.workspace import open_workspace

    headers = {"Authorization": f"Bearer {TOKENS['pacs']}"}
    servers = {"ailab": {"Url": f"http://127.0.0.1:{port}/dicom-web/", "HttpHeaders": headers, "ChunkedTransfers": True}}
    settings = {"DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers}}
    with (
        Adapter(open_workspace(home=tmp_path / "lab"), plan, workers=0) as adapter,
        orthanc(tmp_path / "orthanc", destinations={"WEB": port}, settings=settings) as pacs,
    ):
        need_service("storescu", package="dcmtk")
        paths = files(tmp_path / "in", *(image(number) for number in range(1, 21)))
        assert dcmtk("storescu", pacs.dicom_port, paths=paths, aec="ORTHANC").count("(Success)") == 20
        study, = pacs.rest("/studies")
        wish = {"Resources": [study], "Synchronous": True}
        told = pacs.rest("/dicom-web/servers/ailab/stow", method="POST", body=wish)
        kept = adapter.inbox.ledger.arrivals(state=KEPT)
        assert len(kept) == 20, told
        assert {dataset(adapter.inbox.path(one.content)) for one in kept} == {dataset(path) for path in paths}


@pytest.mark.parametrize(("who", "path", "status"), [
    ("", STUDIES, 401), ("asker", STUDIES, 403), ("watcher", STUDIES, 403), ("pacs", f"{STUDIES}/not-a-uid", 400),
    ("pacs", "/dicom-web/series", 404)])
def test_who_may_not_and_what_there_is_not(here, tmp_path, who, path, status):
    code, body = curl(here, path, *multipart(tmp_path, b"x"), who=who)
    assert code == status
    assert "detail" in json.loads(body)
    assert not here.ledger.arrivals()
    refused = [json.loads(one["detail"]) for one in here.workspace.catalog.audit_trail() if one["event"] == "adapter.refused"]
    assert len(refused) == (status in (401, 403))
    assert all(one["door"] == "web" and one["address"] == "127.0.0.1" for one in refused)


@pytest.mark.parametrize(("options", "status"), [
    (("-H", "Content-Type: application/json", "-d", "{}"), 415),
    (("-H", "Content-Type: multipart/related; boundary=x", "-d", "nothing of the kind"), 400),
    (("-H", "Content-Type: multipart/related; boundary=x", "-d", "--x--"), 400),
    (("-H", "Content-Type: multipart/related; boundary=x", "-H", "Content-Encoding: gzip", "-d", "--x--"), 415),
    (("-H", "Content-Type: multipart/related; boundary=x", "-H", "Accept: text/html", "-d", "--x--"), 406),
    (("-X", "GET"), 405),
])  # fmt: skip
def test_what_is_no_store_request_is_told_so(here, options, status):
    code, body = curl(here, STUDIES, *options, who="pacs")
    assert code == status, body
    assert "Traceback" not in body


def test_parts_that_are_no_instances_are_no_request(here, tmp_path):
    code, _ = curl(here, STUDIES, *multipart(tmp_path, b"{}", kind="application/dicom+json"), who="pacs")
    assert code == 400


def test_a_body_that_breaks_off_leaves_what_was_whole_and_nothing_half(here, tmp_path):
    first, second = (path.read_bytes() for path in files(tmp_path / "in", image(1), image(2)))
    multipart(tmp_path, first, second)
    body = (tmp_path / "body").read_bytes()
    context = ssl.create_default_context(cafile=str(here.cert))
    with socket.create_connection(("127.0.0.1", here.adapter.web_port)) as raw, context.wrap_socket(
        raw, server_hostname="127.0.0.1") as link:  # fmt: skip
        head = (f"POST {STUDIES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['pacs']}\r\nContent-Length: {len(body)}\r\n"
                'Content-Type: multipart/related; type="application/dicom"; boundary=mark\r\n\r\n')
        link.sendall(head.encode() + body[:-2000])
        eventually(here.ledger.arrivals)
    incoming = here.adapter.inbox.folder / ".incoming"
    eventually(lambda: all(path.is_dir() or path.name == ".lock" for path in incoming.rglob("*")))
    assert [one.uid for one in here.ledger.arrivals()] == [f"{ROOT}.1.1.1"]


def test_a_full_disk_is_said_and_recovers_alone(here, tmp_path, monkeypatch):
    path, = files(tmp_path / "in", image())
    asked = multipart(tmp_path, path.read_bytes())
    free = os.statvfs

    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    code, body = curl(here, STUDIES, *asked, who="pacs")
    assert (code, reasons(body)) == (503, [0xA700])
    monkeypatch.setattr(os, "statvfs", free)
    assert curl(here, STUDIES, *asked, who="pacs")[0] == 200


def test_plain_http_and_an_unknown_authority_get_nothing(here):
    assert curl(here, "/health")[0] == 200
    assert curl(here, "/health", ca=False)[0] == 0
    plain = here.url.replace("https:", "http:")
    done = subprocess.run(["curl", "-sS", f"{plain}/health"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ailab" not in done.stdout


@pytest.mark.slow
def test_a_large_instance_is_never_whole_in_memory(tmp_path):
    """300 MB in one part; the process grows by a few."""
    plan_of(tmp_path)
    big = image(1)
    big.Rows, big.Columns, big.NumberOfFrames = 1000, 1000, 150
    big.PixelData = os.urandom(1 << 20) * 286 + bytes(300_000_000 - (286 << 20))
    path, = files(tmp_path / "in", big)
    multipart(tmp_path, path.read_bytes())
    server, port = served(tmp_path)
    try:
        before = _resident(server.pid)
        code, body = curl(_Far(port, tmp_path / "web.pem"), STUDIES, "-T", str(tmp_path / "body"), "-X", "POST",
                          "-H", "Content-Type: multipart/related; boundary=mark", who="pacs")  # fmt: skip
        assert code == 200, body
        assert _resident(server.pid) - before < 40 << 20
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


class _Far:
    def __init__(self, port: int, cert: Path) -> None:
        self.url, self.cert = f"https://127.0.0.1:{port}", cert


def _resident(pid: int) -> int:
    """Most memory that a process ever had, bytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) << 10


_SERVE = """
import sys, time
from pathlib import Path
from ailab_kernel.adapter.running import Adapter
from ailab_kernel.workspace import open_workspace
folder = Path(sys.argv[1])
with Adapter(open_workspace(home=folder / "lab"), folder / "adapter.toml", workers=0) as adapter:
    print(adapter.web_port, flush=True)
    time.sleep(600)
"""


def served(folder: Path, *before: object) -> tuple[subprocess.Popen, int]:
    """An adapter in a process of its own, and the port of its web's door."""
    server = subprocess.Popen([*map(str, before), sys.executable, "-c", _SERVE, str(folder)], stdout=subprocess.PIPE, text=True)
    return server, int(server.stdout.readline())


@pytest.mark.slow
@pytest.mark.battery
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path):
    """A few kills at moments that differ; `make battery` has the full count."""
    kills = 100 if os.environ.get("AILAB_BATTERY") == "full" else 4
    plan_of(tmp_path)
    paths, acknowledged = files(tmp_path / "in", *(image(number) for number in range(1, 31))), set[str]()
    for number in range(kills):
        server, port = served(tmp_path)
        timer = threading.Timer(0.05 + (number * 37 % 50) / 100, server.send_signal, [signal.SIGKILL])
        timer.start()
        for order, path in enumerate(paths, 1):
            if curl(_Far(port, tmp_path / "web.pem"), STUDIES, *multipart(tmp_path, path.read_bytes()), who="pacs")[0] != 200:
                break
            acknowledged.add(f"{ROOT}.1.1.{order}")
        timer.join()
        server.wait()
        server.stdout.close()
    ledger = Ledger(f"sqlite:///{tmp_path / 'lab' / 'adapter' / 'ledger.sqlite'}")
    kept = {one.uid: one for one in ledger.arrivals(state=KEPT)}
    assert acknowledged
    assert acknowledged <= set(kept)
    for uid, one in kept.items():
        where = tmp_path / "lab" / "adapter" / "inbox" / "kept" / one.content[:2] / f"{one.content[2:]}.dcm"
        assert dataset(where) == dataset(paths[int(uid.rpartition(".")[2]) - 1])
    ledger.close()


@pytest.mark.slow
def test_every_acknowledgement_comes_after_its_fsyncs(tmp_path):
    """strace's order: file, folder and ledger are synced before the answer goes out."""
    need_service("strace", package="strace")
    plan, _ = plan_of(tmp_path)
    plan.write_text(re.sub(r"\[web\.tls\]\n.*\n.*\n", "", plan.read_text()))       # so that the answer can be read
    paths = files(tmp_path / "in", *(image(number) for number in range(1, 4)))
    log = tmp_path / "strace"
    server, port = served(tmp_path, "strace", "-f", "-y", "-s", "40", "-o", log, "-e",
                          "trace=fsync,fdatasync,rename,sendto,write")  # fmt: skip
    try:
        far = _Far(port, tmp_path / "web.pem")
        far.url = far.url.replace("https:", "http:")
        for path in paths:
            store(far, dcmread(path))
    finally:
        subprocess.run(["pkill", "-TERM", "-P", str(server.pid)], check=False)
        server.wait(20)
        server.stdout.close()
    steps = [kind for line in log.read_text().splitlines() if (kind := _step(line))]
    assert len(re.findall(r"FRD+L+A", "".join(steps))) == 3, steps


def _step(line: str) -> str:
    """One letter a step: File synced, Renamed, folDer synced, Ledger synced, Answered."""
    if "fsync(" in line or "fdatasync(" in line:
        return "L" if "adapter/ledger.sqlite" in line else "F" if "/.incoming/" in line else "D" if "/kept/" in line else ""
    if "rename(" in line and "/kept/" in line:
        return "R"
    return "A" if ("sendto(" in line or "write(" in line) and "HTTP/1.1 200" in line else ""


def test_the_silent_are_hung_up_and_keep_nobody_waiting(here, monkeypatch):
    from ailab_kernel.adapter.web.serving import _Watched

    monkeypatch.setattr(_Watched, "request_s", 1.0)
    context = ssl.create_default_context(cafile=str(here.cert))
    silent = [context.wrap_socket(socket.create_connection(("127.0.0.1", here.adapter.web_port)), server_hostname="127.0.0.1")
              for _ in range(100)]  # fmt: skip
    start = time.monotonic()
    assert curl(here, "/health")[0] == 200
    assert time.monotonic() - start < 1
    for one in silent:
        one.settimeout(10)
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            assert one.recv(1) == b""
        one.close()
    assert time.monotonic() - start < 8


class Collected:
    def __init__(self) -> None:
        self.parts: list[bytearray] = []
        self.headers: list[dict[str, str]] = []
        self.ended = 0

    def begin(self, headers):
        self.headers.append(dict(headers))
        self.parts.append(bytearray())

    def write(self, part):
        self.parts[-1] += part

    def end(self):
        self.ended += 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_parts_are_the_same_however_the_body_comes_in_pieces(size):
    bodies = [b"", b"\r\n--mar", b"one\r\n\r\ntwo--mark", bytes(range(256)) * 9, b"\r\n"]
    body = b"before\r\n--mark  \r\n\r\n" + bodies[0] + b"".join(
        b"\r\n--mark\r\nContent-Type: a/b\r\nX: " + b"y" * number + b"\r\n\r\n" + one for number, one in enumerate(bodies[1:]))
    body += b"\r\n--mark--\r\nafter\r\n--mark\r\n"
    found = Collected()
    parts = parser.Parts(b"mark", found)
    for at in range(0, len(body), size):
        parts.feed(body[at:at + size])
    parts.close()
    assert [bytes(one) for one in found.parts] == bodies
    assert found.ended == 5
    assert [one.get("content-type") for one in found.headers] == [None, "a/b", "a/b", "a/b", "a/b"]


@pytest.mark.parametrize("body", [b"x" * 40_000, b"--mark\r\n" + b"h: " + b"x" * 40_000, b"--mark" + b" " * 400, b"--markx\r\n"])
def test_what_is_no_multipart_costs_little(body):
    with pytest.raises(ProtocolBroken):
        _fed(parser.Parts(b"mark", Collected()), body)
    cut = parser.Parts(b"mark", Collected())
    cut.feed(b"--mark\r\n\r\nbody")
    with pytest.raises(ProtocolBroken, match="before its closing delimiter"):
        cut.close()


def _fed(parts: parser.Parts, body: bytes) -> None:
    for at in range(0, len(body), 1000):
        parts.feed(body[at:at + 1000])


def test_a_class_that_is_no_uid_is_not_repeated(here, tmp_path):
    path, = files(tmp_path / "in", image(1))
    odd = path.read_bytes().replace(f"{ROOT}.1.1.1".encode(), f"Planted^{ROOT[8:]}.1.1.1".encode(), 1)
    code, body = curl(here, STUDIES, *multipart(tmp_path, odd), who="pacs")
    assert (code, reasons(body)) == (409, [0xA900])
    assert "Planted" not in body
    assert CT in here.ledger.arrivals(state=ASIDE)[0].sop_class


@pytest.mark.battery
def test_mutants_of_an_instance_are_kept_or_set_aside_and_break_nothing(tmp_path, caplog):
    """Whatever the bytes: one outcome each, soon, and nothing of it in a log; `make battery` has the full count."""
    mutants = 10_000 if os.environ.get("AILAB_BATTERY") == "full" else 400
    path, = files(tmp_path / "in", image(1))
    whole, dice = path.read_bytes(), random.Random(11)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    slowest = 0.0
    with Inbox(tmp_path / "inbox", ledger, durable=False) as inbox:
        intake = Intake(inbox, "mutant@127.0.0.1")
        for _ in range(mutants):
            start = time.perf_counter()
            _taken(intake, mutant(whole, dice, (400, 1200)), dice)
            slowest = max(slowest, time.perf_counter() - start)
        _taken(intake, whole, dice)
        assert len(intake.outcomes) == mutants + 1
        assert intake.outcomes[-1].status == 0
        assert {one.status for one in intake.outcomes} <= {0, 0xA900, 0xC000, 0x0122, 0xC122}
        json.dumps(answer(intake.outcomes))
        assert [path.name for path in tmp_path.glob("inbox/.incoming/*/*")] == [".lock"]
        for one in ledger.arrivals():
            assert inbox.path(one.content, state=one.state).is_file()
    assert slowest < 5
    assert "Planted" not in caplog.text
    ledger.close()


def _taken(intake: Intake, data: bytes, dice: random.Random) -> None:
    intake.begin({})
    at = 0
    while at < len(data):
        size = dice.choice((1, 100, 5000))
        intake.write(memoryview(data)[at:at + size])
        at += size
    intake.end()
