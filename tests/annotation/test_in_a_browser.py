"""A reader with a mouse, in a real JupyterLab, Chromium and Orthanc: what was drawn is what the archive gets."""

import os
import signal

import numpy as np
import pytest

from ailab_kernel.archives.archive import open_archive
from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.volumes.series import volume_from_datasets
from tests.services import orthanc

from .mouse import Desk, enclosed, line_to_the_kernel, outside, picture, told, under

pytestmark = pytest.mark.slow
READING = """
import os, pathlib
import ailab_kernel as ailab
pathlib.Path("pid").write_text(str(os.getpid()))
lab = ailab.open_lab(home={home!r}, archive={archive!r})
task = lab.annotate(lab.archive.search(modality="CT"), label="heart wall", reader="viola")
"""
CANARY = """
from pathlib import Path
from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.datasets.canary import make_canary
sent = make_canary()
session = Session(Path("canary"), sent.volume, case=Case("", sent.volume.series_uid, "reader-1", sent.mask.labels))
Annotator(session, title="Orientation canary")
"""


def test_a_reading_from_the_first_stroke_to_the_archive(lab, page, tmp_path):
    phantom = make_objects(72, style="general-hospital", size=(20, 96, 96), spacing_mm=(7.0, 3.9, 3.7))
    images = [ds for ds in phantom if ds.Modality == "CT"]
    with orthanc(tmp_path / "orthanc") as server:
        archive = open_archive(server.url)
        archive.store(images)
        lab.notebook(READING.format(home=str(tmp_path / "lab"), archive=server.url))
        lab.theme("JupyterLab Light")
        lab.run_all(page)
        desk = Desk(page, volume_from_datasets(images).grid).wait()
        wished = np.zeros(desk.grid.shape, np.uint8)
        desk.set_radius(11.3)
        for number, index in enumerate((9, 10, 11)):
            desk.go_to(0, index)
            shift = 12 * number
            wished[under(desk, desk.drag((-60 + shift, -20), (20 + shift, 28), (60 + shift, 0)), 11.3, index)] = 1
        desk.settle()
        picture(page, "light", tmp_path)
        desk.press("e")
        rubbed = under(desk, desk.drag((24, -60), (24, 60)), 11.3, 11)
        before = wished.copy()
        wished[rubbed] = 0
        desk.press("z")
        assert page.locator(".ailab-label small").first.text_content() == told(before, 1, desk)
        desk.press("y")
        desk.press("p", "2", "g", "1", "g", "2", "g")            # label 1 locked; 2 is drawn around and over it
        corners = desk.drag((-80, -60), (-20, -64), (12, 40), (-72, 36))
        wished[enclosed(desk, corners, 11) & (wished == 0)] = 2
        desk.settle()
        assert page.locator(".ailab-label small").nth(1).text_content() == told(wished, 2, desk)

        lab.store(page)
        lab.theme("JupyterLab Dark")
        page.reload()                                              # in the middle: nothing is lost, no cell is run
        desk.wait()
        desk.go_to(0, 10)
        desk.set_radius(7.9)
        wished[under(desk, desk.drag((-40, 64), (56, 64)), 7.9, 10)] = 1
        desk.settle()
        picture(page, "dark", tmp_path)
        desk.press("x")
        picture(page, "three", tmp_path)
        desk.press("x")
        page.keyboard.press("Control+s")
        page.wait_for_selector(".ailab-said:has-text('handed in')")

        (found,) = archive.search_series(images[0].StudyInstanceUID, modality="SEG")
        (seg,) = archive.retrieve(found)
        mask = read_seg(seg, volume_from_datasets(images))
        assert [label.name for label in mask.labels] == ["heart-wall", "heart-cavity"]
        assert np.array_equal(mask.array, wished)
        assert seg.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"
        assert str(seg.ContentCreatorName).startswith("reader-")
        assert "viola" not in str(seg)
        assert seg.ManufacturerModelName == "AI-LAB annotate"
        assert outside(page.asked) == set()
        assert page.faults == []

LOSES_ONE = """
const send = WebSocket.prototype.send;
let lost = false;
WebSocket.prototype.send = function (data) {
  const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
  if (!lost && text.includes('"kind":"do"')) { lost = window.lostOne = true; return; }
  send.call(this, data);
};
"""


def test_a_stroke_of_an_earlier_page_comes_back_although_its_second_sending_is_lost(lab, page, tmp_path):
    images = [ds for ds in make_objects(75, style="general-hospital", size=(12, 48, 48), spacing_mm=(10.0, 7.9, 7.7)) if ds.Modality == "CT"]
    open_archive(f"folder:{tmp_path}/archive").store(images)
    lab.notebook(READING.format(home=str(tmp_path / "lab"), archive=f"folder:{tmp_path}/archive"))
    lab.run_all(page)
    desk = Desk(page, volume_from_datasets(images).grid).wait()
    desk.set_radius(13.1)
    desk.settle()
    pid = int((lab.folder / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    wished = under(desk, desk.drag((-60, -20), (20, 28)), 13.1, 6)
    page.wait_for_selector(".ailab-status:has-text('1 not yet kept')")
    os.kill(pid, signal.SIGKILL)
    page.add_init_script(LOSES_ONE)
    lab.run_all(page)                                              # another page, another kernel
    desk.wait()
    desk.settle()
    assert page.evaluate("window.lostOne")
    assert page.locator(".ailab-label small").first.text_content() == told(wished, True, desk)



def test_strokes_that_a_killed_kernel_never_saw_come_back(lab, page, tmp_path):
    images, other = ([ds for ds in make_objects(seed, style="general-hospital", size=(12, 48, 48), spacing_mm=(10.0, 7.9, 7.7)) if ds.Modality == "CT"]
                     for seed in (73, 74))
    open_archive(f"folder:{tmp_path}/archive").store([*images, *other])
    lab.notebook(READING.format(home=str(tmp_path / "lab"), archive=f"folder:{tmp_path}/archive"))
    lab.run_all(page)
    first = page.wait_for_selector(".ailab-annotate header b").text_content()
    assert first.endswith("case 1 of 2")
    desk = Desk(page, volume_from_datasets(images).grid).wait()
    desk.set_radius(13.1)
    wished = under(desk, desk.drag((-60, -20), (20, 28)), 13.1, 6)
    desk.settle()
    pid = int((lab.folder / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    wished |= under(desk, desk.drag((-80, 0), (-80, 80)), 13.1, 6)
    page.wait_for_timeout(3500)                                    # sent again meanwhile
    os.kill(pid, signal.SIGCONT)
    desk.settle()
    assert page.locator(".ailab-label small").first.text_content() == told(wished, True, desk)
    os.kill(pid, signal.SIGSTOP)
    wished |= under(desk, desk.drag((-20, 80), (60, 40)), 13.1, 6)
    wished |= under(desk, desk.drag((0, -80), (80, -80)), 13.1, 6)
    page.wait_for_selector(".ailab-status:has-text('2 not yet kept')")
    os.kill(pid, signal.SIGKILL)
    lab.run_all(page)                                              # another page, another kernel
    desk.wait()
    page.wait_for_function("size => document.querySelector('.ailab-label small').textContent === size", arg=told(wished, True, desk))
    page.locator(".ailab-annotate").focus()
    desk.press("z", "z", "z", "z")                                 # four strokes, each once
    assert page.locator(".ailab-label small").first.text_content() == "0.00 ml · 0 slices"
    turn(page, desk, 2)
    desk.drag((0, 0), (40, 40))
    desk.settle()
    drawn = page.locator(".ailab-label small").first.text_content()
    assert drawn.endswith("1 slice")
    turn(page, desk, 1)
    assert page.locator(".ailab-label small").first.text_content() == "0.00 ml · 0 slices"
    turn(page, desk, 2)
    assert page.locator(".ailab-label small").first.text_content() == drawn
    assert page.faults == []


def turn(page, desk, number: int) -> None:
    page.select_option("[aria-label=case]", index=number - 1)
    page.wait_for_selector(f".ailab-annotate header b:has-text('case {number} of 2')")
    desk.wait()
    page.wait_for_function("() => document.querySelector('.ailab-label small').textContent !== ''")


def test_the_canary_is_where_it_belongs_in_every_plane_over_a_line_that_breaks(lab, page):
    sent, cut = make_canary(), line_to_the_kernel(page)
    lab.notebook(CANARY)
    lab.run_all(page)
    desk, painted = Desk(page, sent.volume.grid).wait(), np.zeros(sent.mask.array.shape, np.uint8)
    desk.set_radius(0.2)
    chosen = np.argwhere(sent.mask.array)[::23]
    for plane in ("axial", "coronal", "sagittal"):
        desk.press(plane[0])
        for voxel in chosen[{"axial": 0, "coronal": 1, "sagittal": 2}[plane] :: 3].tolist():
            for axis, index in enumerate(voxel):
                desk.go_to(axis, index)
            place = desk.screen(voxel, plane)
            shown = page.evaluate("voxel => document.querySelector('.ailab-annotate').annotate.screenOf(voxel)", voxel)
            assert shown == pytest.approx(place, abs=0.02)
            back = page.evaluate("([x, y]) => document.querySelector('.ailab-annotate').annotate.voxelAt(x, y)", shown)
            assert back == pytest.approx(voxel, abs=1e-6)
            page.mouse.click(*place)
            painted[tuple(voxel)] = 1
        if plane == "coronal":
            cut()
            page.mouse.click(*place)                               # once more, now without a line
    desk.settle()
    ml = painted.sum() * desk.grid.voxel_ml
    assert page.locator(".ailab-label small").first.text_content().startswith(f"{ml:.2f} ml")
    page.locator(".ailab-annotate").focus()
    desk.press(*"z" * (painted.sum() + 1))
    assert page.locator(".ailab-annotate [title^='take back']").is_disabled(), "each click once"
