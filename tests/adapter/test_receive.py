"""The storage SCP: what dcmtk sends lies on the disk as it was sent, and who misbehaves is told so and costs little."""

import contextlib
import errno
import os
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
from pydicom import dcmread
from pydicom.uid import UID_dictionary

from ailab_kernel.adapter.ledger import ASIDE, CONFLICT, KEPT, Ledger
from ailab_kernel.adapter.receive import Caller, Limits
from ailab_kernel.adapter.receive import message as dimse
from ailab_kernel.adapter.receive.contexts import VERIFICATION
from ailab_kernel.ground.errors import CatalogError
from tests.adapter.receiving import CT, ROOT, Raw, dcmtk, door, files, image
from tests.services import need_service
from tests.tls import certificate

SUCCESS = "Received Store Response (Success)"


@pytest.fixture(autouse=True)
def _dcmtk():
    need_service("storescu", "dcmsend", "echoscu", "dcmcjpls", package="dcmtk")


@pytest.fixture
def open_door(tmp_path):
    with door(tmp_path) as one:
        yield one


def dataset(path: Path) -> bytes:
    """A file's bytes behind its file meta information."""
    data = path.read_bytes()
    return data[144 + int.from_bytes(data[140:144], "little"):]


def test_an_echo_is_answered(open_door):
    assert "Received Echo Response (Success)" in dcmtk("echoscu", open_door.port)


def test_what_is_sent_lies_there_as_it_was_sent(open_door, tmp_path):
    paths = files(tmp_path / "in", *(image(number) for number in range(1, 9)))
    said = dcmtk("storescu", open_door.port, "-xe", paths=paths)
    assert said.count(SUCCESS) == 8
    kept = open_door.ledger.arrivals(state=KEPT)
    assert [one.uid for one in kept] == [f"{ROOT}.1.1.{number}" for number in range(1, 9)]
    for one, path in zip(kept, paths, strict=True):
        assert dataset(open_door.inbox.path(one.content)) == dataset(path)
        assert dcmread(open_door.inbox.path(one.content)).SOPInstanceUID == one.uid
        assert one.sender == "SCANNER@127.0.0.1"
        assert one.study_uid == f"{ROOT}.1"


@pytest.mark.parametrize(("tool", "option", "send"), [
    ("dcmcjpls", "", "-xt"), ("dcmcjpeg", "+e1", "-xs"), ("dcmcrle", "", "-xr"), ("dcmconv", "+td", "-xd"),
    ("dcmconv", "+tb", "-xb"), ("dcmconv", "+ti", "-xi"),
])  # fmt: skip
def test_every_encoding_is_kept(open_door, tmp_path, tool, option, send):
    plain, = files(tmp_path / "in", image())
    coded = tmp_path / "coded.dcm"
    subprocess.run([tool, *([option] if option else []), plain, coded], check=True, capture_output=True)
    assert SUCCESS in dcmtk("storescu", open_door.port, send, paths=[coded])
    one, = open_door.ledger.arrivals()
    assert one.syntax == dcmread(coded).file_meta.TransferSyntaxUID
    assert dataset(open_door.inbox.path(one.content)) == dataset(coded)


def test_every_storage_class_is_negotiated(open_door):
    from ailab_kernel.adapter.receive.contexts import answers
    from ailab_kernel.adapter.receive.pdu import Proposal

    storage = [uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class"
               and uid.startswith("1.2.840.10008.5.1.4.1.1.") and name.endswith("Storage")]  # fmt: skip
    assert len(storage) > 150
    given = answers(tuple(Proposal(1, uid, ("1.2.840.10008.1.2",)) for uid in (*storage, "1.3.12.2.1107.5.9.1")))
    assert {one.result for one in given} == {0}
    find, odd = answers((Proposal(1, "1.2.840.10008.5.1.4.1.2.2.1", ("1.2.840.10008.1.2",)), Proposal(3, CT, ("1.2.3",))))
    assert (find.result, odd.result) == (3, 4)


def test_the_same_again_changes_nothing_and_other_bytes_are_a_conflict(open_door, tmp_path):
    first, = files(tmp_path / "a", image(1))
    other, = files(tmp_path / "b", image(1, InstanceNumber=7))
    for path in (first, first, other, first, other):
        assert SUCCESS in dcmtk("storescu", open_door.port, paths=[path])
    assert [one.state for one in open_door.ledger.arrivals()] == [KEPT, CONFLICT]
    assert len(list(open_door.inbox.folder.rglob("*.dcm"))) == 2


def test_a_caller_that_nobody_knows_is_refused(tmp_path):
    known = (Caller("SCANNER", "127.0.0.0/8"), Caller("WATCH", store=False), Caller("FAR", "10.1.2.3"))
    one, = files(tmp_path / "in", image())
    with door(tmp_path, known=known) as here:
        assert "Calling AE Title Not Recognized" in dcmtk("echoscu", here.port, aet="NOBODY")
        assert "Called AE Title Not Recognized" in dcmtk("echoscu", here.port, aec="OTHER")
        assert "Calling AE Title Not Recognized" in dcmtk("echoscu", here.port, aet="FAR")
        assert "Success" in dcmtk("echoscu", here.port, aet="WATCH")
        assert "Unknown Status: 0x124" in dcmtk("storescu", here.port, paths=[one], aet="WATCH")
        assert not here.ledger.arrivals()
    with door(tmp_path / "far", known=(Caller("FAR", "10.1.2.3"),)) as here:
        assert "Received Echo" not in dcmtk("echoscu", here.port, aet="FAR")


def _store(peer: Raw, uid: str, data: bytes, *, kind: str = CT) -> int:
    peer.fragment(dimse.command({dimse.CLASS: kind, dimse.FIELD: dimse.STORE, dimse.MESSAGE: 1, 0x700: 0,
                                 dimse.DATASET: 1, dimse.INSTANCE: uid}), command=True)  # fmt: skip
    peer.fragment(data, command=False)
    return peer.status()


def test_malformed_data_is_set_aside_with_its_status(open_door, tmp_path):
    one, = files(tmp_path / "in", image())
    data, uid = dataset(one), f"{ROOT}.1.1.1"
    with Raw(open_door.port) as peer:
        assert peer.associate() == 2
        assert _store(peer, uid, b"\xff" * 300) == dimse.NOT_UNDERSTOOD
        assert _store(peer, f"{ROOT}.9", data) == dimse.OTHER_CLASS
        assert _store(peer, uid, data, kind="1.2.840.10008.5.1.4.1.1.4") == dimse.UNKNOWN_CLASS
        assert _store(peer, "../../../../tmp/gotcha", data) == dimse.OTHER_CLASS
        assert _store(peer, uid, data) == dimse.SUCCESS
    states = [(one.state, one.reason[:12]) for one in open_door.ledger.arrivals()]
    assert states.count((KEPT, "")) == 1
    aside = open_door.ledger.arrivals(state=ASIDE)
    assert len(aside) >= 3
    assert all(one.reason for one in aside)
    for found in aside:
        assert open_door.inbox.path(found.content, state=ASIDE).is_file()
    assert all(path.resolve().is_relative_to(tmp_path) for path in open_door.inbox.folder.rglob("*"))


@pytest.mark.parametrize("what", ["request", "fragment", "command", "empty", "kind", "context"])
def test_what_is_no_dicom_ends_its_own_association_only(open_door, what):
    with Raw(open_door.port) as peer:
        if what == "request":
            peer.sock.sendall(b"\x01\x00" + (600 << 20).to_bytes(4) + bytes(1000))
        else:
            peer.associate()
            {"fragment": lambda: peer.sock.sendall(b"\x04\x00" + (600 << 20).to_bytes(4)),
             "command": lambda: peer.fragment(b"\x08\x00" * 40, command=True),
             "empty": lambda: peer.pdu(4, b""),
             "kind": lambda: peer.pdu(2, bytes(68)),
             "context": lambda: peer.pdu(4, b"\0\0\0\x04\x63\x03\0\0")}[what]()  # fmt: skip
        start = time.monotonic()
        assert peer.answer()[0] in (7, 0)
        assert time.monotonic() - start < 1
    assert "Success" in dcmtk("echoscu", open_door.port)


def test_a_data_set_without_end_is_cut_off(tmp_path):
    with door(tmp_path, limits=Limits(instance_bytes=1 << 20)) as here, Raw(here.port) as peer:
        peer.associate()
        peer.fragment(dimse.command({dimse.CLASS: CT, dimse.FIELD: dimse.STORE, dimse.MESSAGE: 1, dimse.DATASET: 1,
                                     dimse.INSTANCE: "1.2.3"}), command=True)  # fmt: skip
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _without_end(peer)
    assert not list((tmp_path / "inbox").rglob("*.dcm"))


def _without_end(peer: Raw) -> None:
    for _ in range(400):
        peer.fragment(bytes(1 << 15), command=False, last=False)
        time.sleep(0.001)


def test_the_silent_make_room(tmp_path):
    import socket

    with door(tmp_path, limits=Limits(request_s=3)) as here:
        before = threading.active_count()
        silent = [socket.create_connection(("127.0.0.1", here.port)) for _ in range(300)]
        start = time.monotonic()
        assert "Success" in dcmtk("echoscu", here.port)
        assert time.monotonic() - start < 1
        assert threading.active_count() - before < 10    # who says nothing has no thread
        for one in silent:
            one.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) in (b"", b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00")
            one.close()


def test_without_descriptors_it_waits_and_takes_no_processor(open_door, monkeypatch):
    def none_left(_):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "accept", none_left)
        with socket.create_connection(("127.0.0.1", open_door.port)):
            began = time.process_time()
            time.sleep(1)
            assert time.process_time() - began < 0.5
    assert "Received Echo Response (Success)" in dcmtk("echoscu", open_door.port)


def test_one_association_too_many_is_told_to_come_back(tmp_path):
    with door(tmp_path, associations=1) as here, Raw(here.port) as first:
        assert first.associate(VERIFICATION) == 2
        with Raw(here.port) as second:
            assert second.associate(VERIFICATION) == 3


def test_a_full_disk_is_said_and_recovers_alone(open_door, tmp_path, monkeypatch):
    one, = files(tmp_path / "in", image())
    free = os.statvfs

    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    assert "OutOfResources" in dcmtk("storescu", open_door.port, paths=[one]).replace("Out of Resources", "OutOfResources")
    monkeypatch.setattr(os, "statvfs", free)
    assert SUCCESS in dcmtk("storescu", open_door.port, paths=[one])
    assert len(open_door.ledger.arrivals()) == 1


def test_a_ledger_that_fails_is_no_success(tmp_path):
    class Failing(Ledger):
        broken = True

        def keep(self, new):
            if self.broken:
                msg = "the disk is full"
                raise CatalogError(msg)
            return super().keep(new)

    one, = files(tmp_path / "in", image())
    with door(tmp_path, ledger=Failing(f"sqlite:///{tmp_path / 'ledger.sqlite'}")) as here:
        assert SUCCESS not in dcmtk("storescu", here.port, paths=[one])
        here.ledger.broken = False
        assert SUCCESS in dcmtk("storescu", here.port, paths=[one])


def test_tls_by_dcmtk(tmp_path):
    cert, key = certificate(tmp_path, "door")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cert))
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    one, = files(tmp_path / "in", image())
    with door(tmp_path, tls=context) as here:
        told = ("+tls", str(key), str(cert), "+cf", str(cert))
        assert SUCCESS in dcmtk("storescu", here.port, *told, paths=[one])
        assert "Success" not in dcmtk("echoscu", here.port)
        assert "Success" not in dcmtk("echoscu", here.port, "+tla", "+cf", str(cert))
        assert len(here.ledger.arrivals()) == 1


_SERVE = """
import sys, time
from pathlib import Path
from tests.adapter.receiving import door
with door(Path(sys.argv[1]), ) as here:
    print(here.port, flush=True)
    time.sleep(600)
"""


@pytest.mark.battery
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path):
    """A few kills at moments that differ; `make battery` has the full count."""
    kills = 200 if os.environ.get("AILAB_BATTERY") == "full" else 4
    paths = files(tmp_path / "in", *(image(number) for number in range(1, 61)))
    home, acknowledged = tmp_path / "home", set[str]()
    home.mkdir()
    for number in range(kills):
        server = subprocess.Popen([sys.executable, "-c", _SERVE, str(home)], stdout=subprocess.PIPE, text=True)
        port = int(server.stdout.readline())
        timer = threading.Timer(0.05 + (number * 37 % 50) / 100, server.send_signal, [signal.SIGKILL])
        timer.start()
        said = dcmtk("storescu", port, paths=paths)
        timer.join()
        server.wait()
        server.stdout.close()
        acknowledged |= {f"{ROOT}.1.1.{order}" for order in range(1, said.count(SUCCESS) + 1)}
    ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    kept = {one.uid: one for one in ledger.arrivals(state=KEPT)}
    assert acknowledged <= set(kept)
    assert len(kept) == len(ledger.arrivals())
    for uid, one in kept.items():
        where = home / "inbox" / "kept" / one.content[:2] / f"{one.content[2:]}.dcm"
        assert dataset(where) == dataset(paths[int(uid.rpartition(".")[2]) - 1])
    ledger.close()


def test_every_acknowledgement_comes_after_its_fsyncs(tmp_path):
    """strace's order: file, folder and ledger are synced before each answer goes out."""
    need_service("strace", package="strace")
    paths = files(tmp_path / "in", *(image(number) for number in range(1, 6)))
    log = tmp_path / "strace"
    server = subprocess.Popen(
        ["strace", "-f", "-y", "-o", log, "-e", "trace=fsync,fdatasync,rename,sendto,write", sys.executable, "-c", _SERVE,
         str(tmp_path)], stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        port = int(server.stdout.readline())
        assert dcmtk("storescu", port, paths=paths).count(SUCCESS) == 5
    finally:
        subprocess.run(["pkill", "-TERM", "-P", str(server.pid)], check=False)
        server.wait(20)
        server.stdout.close()
    steps = [kind for line in log.read_text().splitlines() if (kind := _step(line))]
    told = "".join(steps)
    assert len(re.findall(r"FRD+L+A", told)) == 5, told


def _step(line: str) -> str:
    """One letter a step: File synced, Renamed, folDer synced, Ledger synced, Answered."""
    if "fsync(" in line or "fdatasync(" in line:
        return "L" if "ledger.sqlite" in line else "F" if "/.incoming/" in line else "D" if "/kept/" in line else ""
    if "rename(" in line and "/kept/" in line:
        return "R"
    return "A" if "sendto(" in line and r'"\4\0' in line else ""


def test_what_a_dead_receiver_left_unfinished_is_swept(tmp_path):
    with door(tmp_path) as here:
        (here.inbox.folder / ".incoming" / "dead").mkdir()
        (here.inbox.folder / ".incoming" / "dead" / "half").write_bytes(bytes(9))
        with door(tmp_path / ".." / tmp_path.name) as second:
            assert not (here.inbox.folder / ".incoming" / "dead").exists()
            assert len(list((here.inbox.folder / ".incoming").iterdir())) == 2      # two live receivers
            assert "Success" in dcmtk("echoscu", second.port)
