"""A scripted reading over kill -9 of the kernel, reloads of the page and cut sockets: every pointer-up counts, once."""

import os
import random
import signal
from collections import Counter, defaultdict

import numpy as np
import pytest

from ailab_kernel.annotation.session.journal import read_records
from ailab_kernel.annotation.session.records import unpack
from ailab_kernel.datasets.canary import make_canary
from tests.conftest import FULL_BATTERY

from .mouse import Desk, line_to_the_kernel

CELL = """
import os
from pathlib import Path
from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.datasets.canary import make_canary
sent = make_canary()
session = Session(Path("kills"), sent.volume, case=Case("", sent.volume.series_uid, "reader-1", sent.mask.labels))
Path("pid").write_text(str(os.getpid()))
Annotator(session, title="fifty kills")
"""
KILLS = 50 if FULL_BATTERY else 6
CANVAS = "([x, y]) => document.elementFromPoint(x, y)?.tagName === 'CANVAS'"


class Reading:
    """Dabs at chosen voxels; every pointer-up that the widget's canvas got is counted here."""

    def __init__(self, lab, page, cut) -> None:
        self.lab, self.page, self.cut = lab, page, cut
        self.sent, self.chance, self.ups = make_canary(), random.Random(11), []
        self.desk = Desk(page, self.sent.volume.grid)

    def begin(self) -> None:
        """A kernel anew, and a page that knows it also after a reload."""
        self.lab.notebook(CELL)
        self.lab.run_all(self.page)
        self.back()
        self.lab.store(self.page)

    def back(self) -> None:
        self.desk.wait()
        self.desk.set_radius(0.2)

    def dab(self, before_up=lambda: None) -> None:
        shape = self.sent.volume.grid.shape
        voxel = tuple(self.chance.randrange(size) for size in shape)
        self.page.evaluate(f"() => document.querySelector('.ailab-annotate').annotate.state.moveTo(0, {voxel[0]})")
        place = self.desk.screen(voxel)
        if not self.page.evaluate(CANVAS, list(place)):
            return                                     # JupyterLab's own word about a dead kernel is in the way
        self.page.mouse.move(*place)
        self.page.mouse.down()
        before_up()
        self.page.mouse.up()
        self.ups.append(voxel)

    def kill(self) -> None:
        os.kill(int((self.lab.folder / "pid").read_text()), signal.SIGKILL)

    def harm(self, kind: str) -> None:
        """A few dabs, and one harm at a random point among them: between two, or with the button held."""
        dabs, at = self.chance.randint(2, 5), self.chance.randint(0, 4)
        does = {"kill": self.kill, "cut": self.cut, "reload": lambda: None}[kind]
        for number in range(dabs):
            if kind == "reload" and number == min(at, dabs - 1):
                self.dab()
                break                                  # the page is left at once
            held = number == at and self.chance.random() < 0.5
            if number == at and not held:
                does()
            self.dab(does if held else lambda: None)
        if at >= dabs:
            does()
        if self.chance.random() < 0.5:
            self.page.wait_for_timeout(self.chance.uniform(0, 120))
        if kind == "kill":
            self.begin()
        elif kind == "reload":
            self.page.reload()
            self.back()


def records(path) -> list[tuple[dict, np.ndarray]]:
    heads = [unpack(one) for one in read_records(path.read_bytes())[0]]
    return [(head, np.frombuffer(data, "<f4").reshape(-1, 3)) for head, data in heads if head["kind"] == "draw"]


@pytest.mark.slow
@pytest.mark.battery
@pytest.mark.timeout(1800)
def test_no_pointer_up_is_lost_or_doubled(lab, page):
    reading = Reading(lab, page, line_to_the_kernel(page))
    reading.begin()
    kinds = [["kill", "reload", "cut"][number % 3] for number in range(KILLS)]
    for kind in reading.chance.sample(kinds, len(kinds)):
        reading.harm(kind)
    reading.desk.settle()
    (path,) = (lab.folder / "kills").glob("*.strokes")
    drawn, numbers = records(path), defaultdict(list)
    for head, _ in drawn:
        numbers[head["client"]].append(head["number"])
    found = Counter(tuple(np.rint(points[0]).astype(int).tolist()) for _, points in drawn)
    wished = Counter(reading.ups)
    assert found == wished, f"{len(reading.ups)} pointer-ups, {(wished - found).total()} lost, {(found - wished).total()} doubled"
    assert all(one == list(range(1, len(one) + 1)) for one in numbers.values()), "in each page's order, without gaps"
    assert len(reading.ups) > KILLS
    painted = np.zeros(reading.sent.volume.grid.shape, bool)
    for voxel in reading.ups:
        painted[voxel] = True
    small = page.locator(".ailab-label small").first
    assert small.text_content().startswith(f"{painted.sum() * reading.desk.grid.voxel_ml:.2f} ml")
    page.locator(".ailab-annotate").focus()
    for _ in drawn:                                             # history: one after the other, to the very beginning
        assert small.text_content() != "0.00 ml · 0 slices"
        reading.desk.press("z")
    assert small.text_content() == "0.00 ml · 0 slices"
    assert page.faults == []
