"""A receiver of ours for tests, instances to send, and dcmtk to send them with."""

import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ailab_kernel.adapter.ledger import Ledger
from ailab_kernel.adapter.receive import Caller, Callers, Inbox, Limits, Place, Receiver

AE = "AILAB"
CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.826.0.1.3680043.10.1"


@dataclass
class Door:
    """A running receiver."""

    receiver: Receiver
    inbox: Inbox
    ledger: Ledger

    @property
    def port(self) -> int:
        return self.receiver.port


@contextmanager
def door(folder: Path, *, known: tuple[Caller, ...] = (Caller("*"),), limits: Limits | None = None,
         ledger: Ledger | None = None, **place: Any) -> Iterator[Door]:  # fmt: skip
    """A receiver on a free port of 127.0.0.1."""
    folder.mkdir(exist_ok=True)
    book = ledger or Ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
    with (
        Inbox(folder / "inbox", book) as inbox,
        Receiver(Place(port=0, **place), inbox, Callers(AE, known), limits=limits) as receiver,
    ):
        yield Door(receiver, inbox, book)
    book.close()


def image(number: int = 1, *, study: int = 1, **elements: Any) -> Dataset:
    """A small CT image with noise, an instance of its own."""
    ds = Dataset()
    ds.SOPClassUID, ds.Modality, ds.PatientID, ds.PatientName = CT, "CT", "P1", "Planted^Patient"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.1"
    ds.SOPInstanceUID = f"{ROOT}.{study}.1.{number}"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 40, 64, 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.InstanceNumber = 15, 1, number
    noise = np.random.default_rng(number * 1000 + study)
    ds.PixelData = noise.integers(-1000, 1000, (40, 64), dtype=np.int16).tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def files(folder: Path, *images: Dataset) -> list[Path]:
    """Write images as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.dcm" for number in range(len(images))]
    for path, one in zip(paths, images, strict=True):
        one.save_as(path, enforce_file_format=True)
    return paths


def dcmtk(tool: str, port: int, *options: str, paths: Iterable[Path] = (), aet: str = "SCANNER", aec: str = AE) -> str:
    """Run a tool of dcmtk against the receiver and return what it says, the status of each instance included."""
    command = [tool, "-v", "-aet", aet, "-aec", aec, *options, "127.0.0.1", str(port), *map(str, paths)]
    done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=120,
                          env=os.environ | {"TCP_NODELAY": "1"})  # fmt: skip
    return done.stdout + done.stderr


class Raw:
    """A peer that says what it likes."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def associate(self, abstract: str = CT, *syntaxes: str, called: str = AE) -> int:
        """Ask for an association with context 1; returns the kind of the answer."""
        inner = item(0x30, abstract.encode()) + b"".join(
            item(0x40, one.encode()) for one in syntaxes or (ExplicitVRLittleEndian,))
        body = (struct.pack(">HH", 1, 0) + called.encode().ljust(16) + b"RAW".ljust(16) + bytes(32)
                + item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, bytes((1, 0, 0, 0)) + inner)
                + item(0x50, item(0x51, struct.pack(">I", 1 << 16))))  # fmt: skip
        self.pdu(1, body)
        return self.answer()[0]

    def pdu(self, kind: int, body: bytes) -> None:
        self.sock.sendall(struct.pack(">BBI", kind, 0, len(body)) + body)

    def fragment(self, data: bytes, *, command: bool, last: bool = True) -> None:
        """One presentation data value in a PDU of its own."""
        self.pdu(4, struct.pack(">IBB", len(data) + 2, 1, command | last << 1) + data)

    def answer(self) -> tuple[int, bytes]:
        """The next PDU: its kind and body; kind 0 where the connection ended."""
        head = self._read(6)
        return (head[0], self._read(int.from_bytes(head[2:]))) if len(head) == 6 else (0, b"")

    def status(self) -> int:
        """Status (0000,0900) of the response that comes."""
        kind, body = self.answer()
        at = body.find(b"\x00\x00\x00\x09\x02\x00\x00\x00")
        assert kind == 4
        assert at > 0
        return int.from_bytes(body[at + 8:at + 10], "little")

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.sock.recv(size - len(found))
            if not part:
                return found
            found += part
        return found


def item(kind: int, value: bytes) -> bytes:
    """An item of an association request."""
    return struct.pack(">BBH", kind, 0, len(value)) + value
