"""An adapter in a process of its own, attacked: what its memory does meanwhile, and how soon dcmtk's C-ECHO is answered."""

import random
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ailab_kernel.adapter.receive import message as dimse
from tests.adapter.receiving import CT, ROOT, Raw, dcmtk, files, image
from tests.hub.hubs import free_ports

PLAN = """
listen = "127.0.0.1:0"
[[caller]]
ae = "*"
[[rule]]
name = "ct"
run = "infer"
when = {Modality = "CT"}
complete = {quiet_s = 0.5}
"""
_SERVE = """
import sys, time
from pathlib import Path
from ailab_kernel.adapter.running import Adapter
from ailab_kernel.workspace import open_workspace
folder = Path(sys.argv[1])
with Adapter(open_workspace(home=folder / "lab"), folder / "adapter.toml", workers=0) as adapter:
    print(adapter.port, flush=True)
    time.sleep(7200)
"""


@dataclass
class Fort:
    """The adapter under attack."""

    folder: Path
    process: subprocess.Popen
    port: int
    control: int

    @property
    def inbox(self) -> Path:
        return self.folder / "lab" / "adapter" / "inbox"

    def memory(self, what: str) -> int:
        """``VmRSS`` or ``VmHWM`` (the most since it was last cleared), bytes."""
        return int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) << 10


@dataclass
class Seen:
    """What was seen during an attack; ``control`` is the same question to dcmtk's storescp, which nobody attacks."""

    echoes: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    unanswered: int = 0
    grown: int = 0


@contextmanager
def fort(folder: Path) -> Iterator[Fort]:
    """An adapter that has received and looked at a study, so that what it loads lazily is loaded."""
    (folder / "adapter.toml").write_text(PLAN)
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(folder)], stdout=subprocess.PIPE, text=True)
    control = free_ports()
    beside = subprocess.Popen(["storescp", "--fork", "-od", str(folder), str(control)])
    try:
        one = Fort(folder, process, int(process.stdout.readline()), control)
        for syntax in ("-xe", "-xi", "-xd"):
            dcmtk("storescu", one.port, syntax, paths=files(folder / "in", image(1, study=900)))
        time.sleep(3)
        yield one
    finally:
        for each in (process, beside):
            each.kill()
            each.wait()
        process.stdout.close()


@contextmanager
def watched(one: Fort) -> Iterator[Seen]:
    """Ask by echoscu over and over while the block runs, and compare memory with before."""
    seen, over = Seen(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            seen.unanswered += "(Success)" not in _timed(seen.echoes, one.port)
            _timed(seen.control, one.control)
            over.wait(0.05)

    Path(f"/proc/{one.process.pid}/clear_refs").write_text("5")
    before, asking = one.memory("VmRSS"), threading.Thread(target=ask)
    asking.start()
    try:
        yield seen
    finally:
        while len(seen.echoes) < 5 and asking.is_alive():
            time.sleep(0.05)
        over.set()
        asking.join()
    seen.grown = one.memory("VmHWM") - before


def _timed(times: list[float], port: int) -> str:
    start = time.perf_counter()
    said = dcmtk("echoscu", port)
    times.append(time.perf_counter() - start)
    return said


def store(peer: Raw, uid: str, data: bytes, *, size: int = 1 << 15) -> int:
    """C-STORE of a CT in fragments; the status that is answered."""
    begin_store(peer, uid)
    for at in range(0, max(len(data), 1), size):
        peer.fragment(data[at:at + size], command=False, last=at + size >= len(data))
    return peer.status()


def begin_store(peer: Raw, uid: str) -> None:
    """The command set of a C-STORE."""
    peer.fragment(dimse.command({dimse.CLASS: CT, dimse.FIELD: dimse.STORE, dimse.MESSAGE: 1, 0x700: 0,
                                 dimse.DATASET: 1, dimse.INSTANCE: uid}), command=True)  # fmt: skip


def bodies(folder: Path) -> dict[str, bytes]:
    """A CT's data set in syntaxes of every kind, made by dcmtk; by transfer syntax."""
    plain, = files(folder, image(1))
    found = {}
    for number, (tool, *option) in enumerate((("dcmconv", "+te"), ("dcmconv", "+ti"), ("dcmconv", "+tb"), ("dcmconv", "+td"),
                                              ("dcmcjpls",), ("dcmcrle",))):
        target = folder / f"coded-{number}.dcm"
        subprocess.run([tool, *option, str(plain), str(target)], check=True, capture_output=True)
        data = target.read_bytes()
        syntax = re.search(rb"\x02\x00\x10\x00UI..([0-9.]+)", data, re.DOTALL)[1].decode()
        found[syntax] = data[144 + int.from_bytes(data[140:144], "little"):]
    return found


def mutant(data: bytes, dice: random.Random, heads: tuple[int, ...] = (60, 400)) -> bytes:
    """Some bytes changed, left out, doubled or cut off, lengths that lie; most of it within ``heads``, where the header is."""
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        at = dice.randrange(min(len(made), dice.choice((*heads, len(made)))) or 1)
        change = dice.choice(("flip", "flip", "cut", "drop", "double", "long"))
        if change == "cut":
            del made[at:]
        elif change == "drop":
            del made[at:at + dice.randrange(1, 20)]
        elif change == "double":
            made[at:at] = made[at:at + dice.randrange(1, 200)]
        else:
            made[at:at + 1] = bytes([dice.randrange(256)]) if change == "flip" else b"\xff\xff\xff\xff"
    return bytes(made)


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HI", 0, size) if vr in (b"SQ", b"OB", b"OW", b"UN", b"UT") else struct.pack("<H", size)) + value


def _ids(number: int, between: bytes = b"") -> bytes:
    """The elements that say which instance it is, and something among them."""
    uid = f"{ROOT}.8.1.{number}"
    texts = ((0x00080016, CT), (0x00080018, uid), (0x00080060, "CT"), (0, ""), (0x0020000D, f"{ROOT}.8{number}"),
             (0x0020000E, f"{ROOT}.8{number}.1"))
    return b"".join(between if not tag else element(tag, b"CS" if text == "CT" else b"UI", text.encode() + b"\0" * (len(text) % 2)
                                                    if text != "CT" else b"CT") for tag, text in texts)  # fmt: skip


_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
PIXELS = element(0x7FE00010, b"OW", bytes(2000))


def _sequence(tag: int, items: bytes, *, end: bytes = _END) -> bytes:
    return element(tag, b"SQ", items + end, length=_UNDEFINED)


def bombs() -> dict[str, tuple[str, int, bytes]]:
    """What is small on the wire and large in memory, or the reverse; transfer syntax, number and data set by name."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    inflated = deflate.compress(_ids(1) + element(0x7FE00010, b"OW", b"", length=_UNDEFINED - 1))
    inflated += b"".join(deflate.compress(zeros) for _ in range(1000)) + deflate.flush()
    deep = (element(0x00081140, b"SQ", b"", length=_UNDEFINED) + _ITEM + b"\xff\xff\xff\xff") * 200_000
    nothing = _ITEM + b"\0\0\0\0"
    tiny = b"".join(element(0x00091000 + number, b"LO", b"") for number in range(0x1000, 0xF000)) * 20
    inner = deflate_of(_ids(7, _sequence(0x00081140, nothing * 2_000_000)) + PIXELS)
    return {
        "deflated 1 GB": (DeflatedExplicitVRLittleEndian, 1, inflated),
        "2 million items before the UIDs": (ExplicitVRLittleEndian, 2, _ids(2, _sequence(0x00081140, nothing * 2_000_000)) + PIXELS),
        "200,000 sequences deep": (ExplicitVRLittleEndian, 3, _ids(3, deep) + PIXELS),
        "a million elements": (ExplicitVRLittleEndian, 4, _ids(4, tiny) + PIXELS),
        "100 MB of one text": (ExplicitVRLittleEndian, 5, _ids(5, element(0x00104000, b"UT", b"A" * (100 << 20))) + PIXELS),
        "2 million items after the UIDs": (ExplicitVRLittleEndian, 6,
                                           _ids(6) + _sequence(0x52009230, nothing * 2_000_000) + PIXELS),
        "deflated, 2 million items": (DeflatedExplicitVRLittleEndian, 7, inner),
        "implicit, no end": (ImplicitVRLittleEndian, 8, struct.pack("<HHI", 8, 0x1140, _UNDEFINED) + nothing * 2_000_000),
    }  # fmt: skip


def deflate_of(data: bytes) -> bytes:
    """A data set as Deflated Explicit VR has it."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()

