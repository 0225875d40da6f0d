"""Destinations that are down, refuse, are slow or take half: once they are back everything is there, once; nothing is stuck.

Orthanc behind a relay for DIMSE and DICOMweb, a folder on a small disk. A sample in every run, the full count with
`make battery`; docs/reliability.md has the figures.
"""

import contextlib
import os
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import Ledger, Outbox, Work, Worklist
from ailab_kernel.adapter.ledger.deliveries import CONFIRMED, DEAD, PENDING
from ailab_kernel.adapter.rules import Destination
from ailab_kernel.adapter.running import Courier
from ailab_kernel.archives.archive import open_archive
from tests.adapter.faults import LUA, Way, disk, refuser, times_stored
from tests.adapter.receiving import ROOT, dcmtk, door, files, image
from tests.conftest import FULL_BATTERY
from tests.hub.hubs import free_ports
from tests.services import need_service, orthanc

# pynetdicom forgets a socket that could not connect, and leaves it to the garbage collector.
pytestmark = [pytest.mark.battery, pytest.mark.timeout(1800),
              pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")]
PARCELS, EACH = (20, 6) if FULL_BATTERY else (2, 6)
_A700 = re.compile(r"Refused: ?Out ?Of ?Resources|0xa700", re.IGNORECASE)
FAULTS = ("down", "refusing", "slow", "half", "cut")


@dataclass
class Office:
    """A ledger with results that wait for a destination that can go wrong, and for one that does not."""

    folder: Path
    url: str
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(f"sqlite:///{self.folder / 'ledger.sqlite'}")
        self.near = f"folder:{self.folder / 'near'}"
        self.clock, self.slowest = time.time(), 0.0

    def post(self, study: int) -> None:
        """Enter every parcel for both destinations."""
        for number in range(study, study + PARCELS):
            made = [image(one, study=number, Rows=128, Columns=128, PixelData=bytes((one, number % 256)) * (128 * 128))
                    for one in range(1, EACH + 1)]  # fmt: skip
            paths = files(self.folder / "out" / str(number), *made)
            Worklist(self.ledger).offer(Work(f"w{number}", made[0].StudyInstanceUID, "r", "delivering", "", 0, 0, 9e9))
            Outbox(self.ledger).put(f"w{number}", [(str(one.SOPInstanceUID), path)
                                    for one, path in zip(made, paths, strict=True)], ["far", "near"])  # fmt: skip

    def round(self) -> None:
        """One round of the courier, far enough in time that everything is due."""
        self.clock += 1000
        start = time.monotonic()
        Courier(self.ledger, (Destination("far", self.url), Destination("near", self.near))).round(self.clock)
        self.slowest = max(self.slowest, time.monotonic() - start)

    def states(self, name: str) -> Counter:
        return Counter(one.state for one in Outbox(self.ledger).all(destination=name))

    def settled(self) -> bool:
        return {one.state for one in Worklist(self.ledger).all()} == {"done"}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    need_service("storescp", package="dcmtk")
    folder, port = tmp_path_factory.mktemp("orthanc"), free_ports()
    with refuser(port), orthanc(folder / "pacs", lua=LUA.format(folder=folder)) as one:
        ways = {"dimse": Way(one.dicom_port, elsewhere=port), "dicomweb": Way(one.http_port)}
        yield one, folder, ways
        for way in ways.values():
            way.close()


@contextlib.contextmanager
def wrong(pacs, kind, fault):
    """The fault, for the block."""
    _, folder, ways = pacs
    flag = folder / fault if fault == "half" or (fault, kind) == ("refusing", "dicomweb") else None
    if flag:
        flag.touch()
    else:
        ways[kind].set("elsewhere" if fault == "refusing" else fault)
    try:
        yield
    finally:
        if flag:
            flag.unlink()
        else:
            ways[kind].set("open")


def told(capsys, what, office, rounds, seen) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {PARCELS * EACH} results, in the fault {dict(seen)}; {rounds} rounds after it all "
                         f"confirmed, each there once; slowest round {office.slowest:.1f} s\n")


def until_settled(office) -> int:
    """Rounds until everything is delivered."""
    for number in range(1, 5):
        office.round()
        if office.settled():
            return number
    pytest.fail(f"stuck: {office.states('far')} {[one.reason for one in Outbox(office.ledger).all(state=PENDING)][:2]}")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
def test_a_pacs_gets_everything_once_after_it_is_back(pacs, tmp_path, capsys, kind, fault):
    one, _, ways = pacs
    one.wipe()
    before, study = times_stored(one), 1000 * (1 + FAULTS.index(fault)) + 100 * (kind == "dimse")
    url = {"dimse": f"dimse://127.0.0.1:{ways['dimse'].port}/ORTHANC?timeout=2",
           "dicomweb": f"dicomweb+http://127.0.0.1:{ways['dicomweb'].port}/dicom-web?timeout=2"}[kind]
    office = Office(tmp_path, url)
    office.post(study)
    with wrong(pacs, kind, fault):
        office.round()
        assert office.states("near") == {CONFIRMED: PARCELS * EACH}            # one that is away keeps no other waiting
        assert office.states("far")[CONFIRMED] < PARCELS * EACH
        office.round()
        seen = office.states("far")
        assert fault in ("slow", "cut") or not office.settled()         # what came was taken nevertheless, and is listed
    rounds = 0 if office.settled() else until_settled(office)
    taken = times_stored(one) - before
    assert len(taken) == PARCELS * EACH
    assert set(taken.values()) == {1}
    assert len(one.rest("/instances")) == PARCELS * EACH
    told(capsys, f"{kind}, {fault}", office, rounds, seen)
    office.ledger.close()


@pytest.mark.parametrize("kind", ["dimse", "dicomweb"])
def test_what_is_refused_for_good_is_failed_and_delivered_once_when_a_person_says_again(pacs, tmp_path, kind):
    one, _, ways = pacs
    one.wipe()
    url = {"dimse": f"dimse://127.0.0.1:{ways['dimse'].port}/ORTHANC?timeout=2",
           "dicomweb": f"dicomweb+http://127.0.0.1:{ways['dicomweb'].port}/dicom-web?timeout=2"}[kind]
    office = Office(tmp_path, url)
    office.post(9000 + 100 * (kind == "dimse"))
    with wrong(pacs, kind, "half"):
        for _ in range(5):
            office.round()
    assert office.states("far") == {CONFIRMED: PARCELS * EACH // 2, DEAD: PARCELS * EACH // 2}
    assert {one.state for one in Worklist(office.ledger).all()} == {"failed"}
    for work in Worklist(office.ledger).all():
        Outbox(office.ledger).again(work.id)
        Worklist(office.ledger).move(work.id, "delivering")
    office.round()
    assert office.settled()
    assert len(one.rest("/instances")) == PARCELS * EACH
    office.ledger.close()


@pytest.mark.parametrize("fault", FAULTS[:4])
def test_a_folder_gets_everything_once_after_it_is_back(tmp_path, capsys, monkeypatch, fault):
    place, size = tmp_path / "disk", {"half": 36 * EACH * PARCELS // 2 + 150}.get(fault, 64 << 10)
    with disk(place, f"size={size}k") as there:
        office = Office(tmp_path, f"folder:{place / 'far'}")
        if fault == "refusing":                # it holds something already
            open_archive(office.url).store([image(1, study=4)])
        office.post(100)
        with monkeypatch.context() as patch:
            if fault == "slow":
                sync = os.fsync
                patch.setattr(os, "fsync", lambda handle: (time.sleep(0.2), sync(handle)))
            elif fault != "half":
                there.mount("ro", again=True)
            for _ in range(7):                 # more often than what a destination refuses is tried
                office.round()
            seen = office.states("far")
            assert office.states("near") == {CONFIRMED: PARCELS * EACH}
            assert seen[DEAD] == 0
            assert fault == "slow" or not office.settled()
        there.mount("rw,size=64m", again=True)
        rounds = 0 if office.settled() else until_settled(office)
        found = Counter(path.stem for path in (place / "far").glob("*/*/*.dcm") if not path.parts[-3].endswith(".4"))
        assert len(found) == PARCELS * EACH
        assert set(found.values()) == {1}
        assert not list(place.rglob("conflicts/*"))
        told(capsys, f"folder, {fault}", office, rounds, seen)
        office.ledger.close()


def test_a_full_disk_is_said_with_a700_and_recovers_alone(tmp_path, capsys):
    """A real one: it fills and is freed while dcmtk sends, and once an instance has no room in the middle of it."""
    need_service("storescu", package="dcmtk")
    count, place, over = 400 if FULL_BATTERY else 60, tmp_path / "disk", threading.Event()
    paths = files(tmp_path / "in", *(image(number) for number in range(1, count + 1)))
    big = image(1, study=2, Rows=10_000, Columns=5_500, PixelData=bytes(110_000_000))
    large, = files(tmp_path / "large", big)
    with disk(place, "size=180m") as _, door(place / "door") as here:
        filler = place / "filler"

        def fill_and_free() -> None:
            while not over.wait(0.2):
                filler.unlink()
                over.wait(0.2)
                filler.write_bytes(bytes(120 << 20))
            filler.unlink()

        filler.write_bytes(bytes(120 << 20))
        filling = threading.Thread(target=fill_and_free)
        filling.start()
        said = dcmtk("storescu", here.port, "--no-halt", paths=paths)
        over.set()
        filling.join()
        taken, refused = said.count("(Success)"), len(_A700.findall(said))
        assert taken + refused == count
        assert refused
        assert len(here.ledger.arrivals()) == taken
        filler.write_bytes(bytes(90 << 20))    # room to begin with it, not to end
        assert _A700.search(dcmtk("storescu", here.port, paths=[large]))
        assert [path.name for path in here.inbox.folder.glob(".incoming/*/*")] == [".lock"]
        filler.unlink()
        assert dcmtk("storescu", here.port, paths=paths).count("(Success)") == count
        assert "(Success)" in dcmtk("storescu", here.port, paths=[large])
        kept = here.ledger.arrivals()
        assert {one.uid for one in kept} == {f"{ROOT}.1.1.{number}" for number in range(1, count + 1)} | {f"{ROOT}.2.1.1"}
        assert len(kept) == count + 1
    with capsys.disabled():
        sys.stdout.write(f"\nfull disk: {count} sent while it fills and is freed: {taken} taken, {refused} refused with A700; "
                         "sent again all taken, each there once\n")
