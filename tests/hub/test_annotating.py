"""A radiologist draws in a server of the hub: nothing leaves this machine, and the archive gets what the mouse drew."""

import numpy as np
import pytest

from ailab_kernel.archives.archive import open_archive
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.fleet.invitations import invite
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.volumes.series import volume_from_datasets
from tests.annotation.mouse import Desk, between, outside, picture, told, under

pytestmark = pytest.mark.slow
READING = """
import ailab_kernel as ailab
lab = ailab.open_lab()
lab.annotate(lab.archive.search(modality="CT"), label="heart wall", reader="viola")
"""
RADIUS = 11.3


def enter(page, url: str, name: str, password: str) -> None:
    """From the login to a server."""
    page.goto(url)
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_url("**/hub/**")
    page.goto(url + "/hub/spawn")
    page.check("#tier-pilot")
    page.click("#spawn_form button[type=submit]")
    page.wait_for_url(f"**/user/{name}/lab/**")


def notebook(page, url: str, text: str) -> None:
    """A notebook of one cell in the person's server, opened and run."""
    cell = {"cell_type": "code", "id": "reading", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    wrote = page.evaluate("""async ([url, content]) => {
      const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)[1];
      return (await fetch(url + "/api/contents/reading.ipynb", {method: "PUT", headers: {"X-XSRFToken": xsrf},
        body: JSON.stringify({type: "notebook", format: "json", content})})).status; }""", [url, content])  # fmt: skip
    assert wrote in {200, 201}
    page.goto(f"{url}/lab/tree/reading.ipynb?reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell")
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle")
    page.click("text=Run >> nth=0")
    page.click(".lm-Menu >> text=Run All Cells")


def theme(page, name: str) -> None:
    page.click(".lm-MenuBar-itemLabel:text-is('Settings')")
    page.hover(".lm-Menu-itemLabel:text-is('Theme')")
    page.click(f".lm-Menu-itemLabel:text-is('{name}')")
    page.wait_for_timeout(1000)


def test_a_reading_in_a_server_of_the_hub(clinic, pacs, page, tmp_path):
    page.set_viewport_size({"width": 1400, "height": 1000})
    images = [ds for ds in make_objects(172, style="general-hospital", size=(20, 96, 96), spacing_mm=(7.0, 3.9, 3.7)) if ds.Modality == "CT"]
    archive = open_archive(pacs.url)
    archive.store(images)
    enter(page, clinic.url, "viola", invite(clinic.private / "invitations", "viola", role="radiologist").password)
    notebook(page, f"{clinic.url}/user/viola", READING)
    desk = Desk(page, volume_from_datasets(images).grid).wait()
    wished = np.zeros(desk.grid.shape, np.uint8)
    desk.set_radius(RADIUS)
    for number, index in enumerate((6, 9, 12)):
        desk.go_to(0, index)
        shift = 8 * number
        wished[under(desk, desk.drag((-60 + shift, -20), (20 + shift, 28), (60 + shift, 0)), RADIUS, index)] = 1
    desk.settle()
    picture(page, "hub-light", tmp_path)
    desk.press("e")
    before = wished.copy()
    wished[under(desk, desk.drag((48, -60), (48, 60)), RADIUS, 12)] = 0
    desk.settle()
    desk.press("z")
    assert page.locator(".ailab-label small").first.text_content() == told(before, 1, desk)
    desk.press("y")
    assert page.locator(".ailab-label small").first.text_content() == told(wished, 1, desk)
    desk.press("i")
    for first, last in ((6, 9), (9, 12)):
        for number, plane in between(desk, wished == 1, first, last).items():
            wished[number][plane] = 1
    assert page.locator(".ailab-label small").first.text_content() == told(wished, 1, desk)
    theme(page, "JupyterLab Dark")
    page.locator(".ailab-annotate").focus()
    desk.press("x")
    picture(page, "hub-dark", tmp_path)
    page.keyboard.press("Control+s")
    page.wait_for_selector(".ailab-said:has-text('handed in')")

    (found,) = archive.search_series(images[0].StudyInstanceUID, modality="SEG")
    (seg,) = archive.retrieve(found)
    assert np.array_equal(read_seg(seg, volume_from_datasets(images)).array, wished)
    assert "viola" not in str(seg)
    assert outside(page.asked) == set()
    assert len([url for url in page.asked if url.startswith("ws")]) > 0, "sockets are recorded too"
    assert page.faults == []
