"""Hostile peers at the DIMSE door: nothing crashes, memory stays, and a C-ECHO of dcmtk is answered within a second meanwhile.

A seeded sample in every run, the full count with `make battery`; docs/reliability.md has the figures.
"""

import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import KEPT, Ledger
from ailab_kernel.adapter.receive import message as dimse
from ailab_kernel.adapter.receive.contexts import VERIFICATION
from tests.adapter.besieging import Fort, begin_store, bodies, bombs, fort, mutant, store, watched
from tests.adapter.receiving import CT, ROOT, Raw, dcmtk, files, image, item
from tests.conftest import FULL_BATTERY
from tests.services import need_service

pytestmark = [pytest.mark.battery, pytest.mark.timeout(3600)]
MUTANTS, CONVERSATIONS, REQUESTS, SECONDS = (10_200, 2_000, 200, 20) if FULL_BATTERY else (300, 60, 6, 2)
MOST_BYTES, SOONEST_S = 64 << 20, 1.0
KNOWN = {dimse.SUCCESS, dimse.OTHER_CLASS, dimse.NOT_UNDERSTOOD}
Attack = Callable[[Fort], str]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> Iterator[Fort]:
    """One adapter for all attacks: what one of them leaves is there at the next."""
    need_service("storescu", "echoscu", "dcmconv", "dcmcjpls", "dcmcrle", package="dcmtk")
    with fort(tmp_path_factory.mktemp("fort")) as one:
        yield one


def mutants(one: Fort) -> str:
    """C-STORE of mutated data sets in six transfer syntaxes: one status each, and the association goes on."""
    dice, told = random.Random(17), Counter[str]()
    found = bodies(one.folder / "bases")
    for syntax, whole in found.items():
        with Raw(one.port) as peer:
            assert peer.associate(CT, syntax) == 2
            for number in range(MUTANTS // len(found)):
                data = mutant(whole, dice)
                status = store(peer, f"{ROOT}.1.1.1", data, size=dice.choice((7, 100, 1 << 15)) if number % 50 == 0 else 1 << 15)
                assert status in KNOWN, hex(status)
                told["kept" if status == dimse.SUCCESS else "set aside"] += 1
    return f"{told.total()} objects, {told['set aside']} set aside"


def conversations(one: Fort) -> str:
    """Whole conversations mutated: requests, PDUs, commands; each ends."""
    dice, ended = random.Random(19), 0
    whole = _conversation()
    for _ in range(CONVERSATIONS):
        with Raw(one.port) as peer:
            with suppress(OSError):
                peer.sock.sendall(mutant(whole, dice))
                peer.sock.shutdown(socket.SHUT_WR)
                while peer.sock.recv(1 << 16):
                    pass
            ended += 1
    return f"{ended} conversations, all ended"


def _conversation() -> bytes:
    class Written(Raw):
        def __init__(self) -> None:
            self.sock, self.said = self, b""

        def sendall(self, data: bytes) -> None:
            self.said += data

        def answer(self) -> tuple[int, bytes]:
            return 2, b""

    peer = Written()
    peer.associate()
    begin_store(peer, f"{ROOT}.1.1.1")
    peer.fragment(bytes(300), command=False)
    peer.pdu(5, bytes(4))
    return peer.said


def fragments(one: Fort) -> str:
    """Data sets and commands without end, in large, small and empty fragments, eight peers at a time."""
    sizes = (1 << 16, 1 << 16, 1 << 12, 100, 1, 0, -1, -1)
    with ThreadPoolExecutor(len(sizes)) as pool:
        sent = sum(pool.map(lambda size: _without_end(one, size), sizes))
    left = [path for path in one.inbox.glob(".incoming/*/*") if path.name != ".lock"]
    end = time.monotonic() + 10
    while left and time.monotonic() < end:
        left = [path for path in left if path.exists()]
    assert not left
    return f"{sent:,} fragments in {SECONDS} s, nothing of them left"


def _without_end(one: Fort, size: int) -> int:
    """Send fragments of one size, -1: of a command, for so long; start anew where that is cut off."""
    # A stranger's processor is his own: here he gets what is left of ours.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    end, sent = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        with Raw(one.port) as peer, suppress(OSError):
            assert peer.associate() == 2
            if size >= 0:
                begin_store(peer, f"{ROOT}.1.1.1")
            while time.monotonic() < end:
                peer.fragment(bytes(max(size, 8)) if size < 0 else bytes(size), command=size < 0, last=False)
                sent += 1
    return sent


def requests(one: Fort) -> str:
    """Association requests of 600 MB, sent as far as the socket takes them; and the longest that is read, eight at a time."""
    sent = 0
    for _ in range(REQUESTS):
        with Raw(one.port) as peer:
            with suppress(OSError):
                peer.sock.sendall(b"\x01\x00" + (600 << 20).to_bytes(4))
                for _ in range(600):
                    peer.sock.sendall(bytes(1 << 20))
                    sent += 1
            with suppress(OSError):
                assert peer.answer()[0] in (7, 0)
    with ThreadPoolExecutor(8) as pool:
        kinds = Counter(pool.map(lambda _: _longest(one), range(max(REQUESTS // 4, 8))))
    return f"{REQUESTS} of 600 MB, {sent} MB of them taken by sockets; {kinds.total()} of 1 MB"


def _longest(one: Fort) -> int:
    inner = item(0x30, CT.encode()) + item(0x40, b"1") * 13_000
    proposals = b"".join(item(0x20, bytes((2 * number + 1, 0, 0, 0)) + inner) for number in range(16))
    with Raw(one.port) as peer, suppress(OSError):
        peer.pdu(1, b"\0\1\0\0" + b"AILAB".ljust(16) + b"RAW".ljust(16) + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1")
                 + proposals)  # fmt: skip
        return peer.answer()[0]
    return 0


def idle(one: Fort) -> str:
    """200 sockets that say nothing, and 40 associations that were asked for and say nothing more."""
    with ExitStack() as open_:
        silent = [open_.enter_context(socket.create_connection(("127.0.0.1", one.port))) for _ in range(200)]
        asked = [open_.enter_context(Raw(one.port)) for _ in range(40)]
        assert all(peer.associate(VERIFICATION) == 2 for peer in asked)
        time.sleep(SECONDS)
    return f"{len(silent)} sockets and {len(asked)} associations for {SECONDS} s"


def traversals(one: Fort) -> str:
    """UIDs, classes and AE titles that would be paths, in command and data set: nothing lies outside the inbox."""
    bad = ["../../../../tmp/gotcha", "/etc/passwd", "..\\..\\gotcha", "1.2/../3", "1.2\0../3", "~/gotcha", "a" * 64, ".." * 32,
           "%2e%2e%2fgotcha", "$(touch gotcha)", "1.2.3;x", "\x1b[2J"]  # fmt: skip
    before, told = _everything(one), Counter[int]()
    plain = bodies(one.folder / "bases")["1.2.840.10008.1.2.1"]
    with Raw(one.port) as peer:
        assert peer.associate(CT) == 2
        for uid in bad:
            for known in (f"{ROOT}.1.1.1", f"{ROOT}.1.1", f"{ROOT}.1"):
                data = _with_uid(plain, known, uid)
                told[store(peer, uid, data)] += 1
                told[store(peer, f"{ROOT}.1.1.1", data)] += 1
            with Raw(one.port) as other:
                other.associate(uid)
    assert set(told) <= {dimse.OTHER_CLASS, dimse.NOT_UNDERSTOOD}
    new = _everything(one) - before
    assert all(path.suffix == ".dcm" and len(path.stem) == 62 for path in new if "inbox" in path.parts), new
    assert not [path for path in new if "inbox" not in path.parts and path.suffix not in (".sqlite-wal", ".sqlite-shm")]
    assert not Path("/tmp/gotcha").exists()
    return f"{told.total()} objects set aside, no file outside the inbox"


def _everything(one: Fort) -> set[Path]:
    return {path for path in one.folder.rglob("*") if path.is_file() and ".incoming" not in path.parts}


def _with_uid(data: bytes, known: str, uid: str) -> bytes:
    """A data set with another value in the place of a UID, its length too."""
    old = known.encode() + b"\0" * (len(known) % 2)
    new = uid.encode() + b"\0" * (len(uid) % 2)
    return data.replace(len(old).to_bytes(2, "little") + old, len(new).to_bytes(2, "little") + new, 1)


def exploding(one: Fort) -> str:
    """Data sets that are small on the wire and large in memory: kept or set aside, and the dispatcher looks at them too."""
    told = {}
    for name, (syntax, number, data) in bombs().items():
        with Raw(one.port) as peer:
            assert peer.associate(CT, syntax) == 2
            peer.sock.settimeout(120)          # a million heads take seconds on a busy machine
            start = time.monotonic()
            status = store(peer, f"{ROOT}.8.1.{number}", data)
            assert status in KNOWN, name
            told[name] = f"{status:04X} {time.monotonic() - start:.1f} s"
    time.sleep(4)                              # it looks once a second
    return f"{len(told)} bombs: " + "; ".join(f"{name} {said}" for name, said in told.items())


@pytest.mark.parametrize("attack", [mutants, conversations, fragments, requests, idle, traversals, exploding],
                         ids=lambda one: one.__name__)
def test_an_attack_takes_nothing_down_and_keeps_nobody_waiting(attacked, attack, capsys):
    with watched(attacked) as seen:
        said = attack(attacked)
    with capsys.disabled():
        sys.stdout.write(f"\n{attack.__name__}: {said}; {seen.grown >> 20} MB more, {len(seen.echoes)} C-ECHO, "
                         f"slowest {max(seen.echoes):.2f} s (storescp beside it {max(seen.control):.2f} s)\n")
    assert attacked.process.poll() is None
    assert seen.grown < MOST_BYTES
    assert not seen.unanswered
    assert max(seen.echoes) < SOONEST_S + max(seen.control)        # what a busy machine adds, it adds to both


def test_afterwards_a_study_is_received_as_ever(attacked, tmp_path):
    paths = files(tmp_path / "in", *(image(number, study=777) for number in range(1, 6)))
    assert dcmtk("storescu", attacked.port, paths=paths).count("(Success)") == 5
    ledger = Ledger(f"sqlite:///{attacked.folder / 'lab' / 'adapter' / 'ledger.sqlite'}")
    assert len(ledger.arrivals(study_uid=f"{ROOT}.777", state=KEPT)) == 5
    ledger.close()
