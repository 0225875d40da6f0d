"""Two readers and an adjudicator, each in a browser and a server of their own: blind until both are in, then one mask."""

import json
import re

import numpy as np
import pytest

from ailab_kernel.archives.archive import open_archive
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.fleet.invitations import invite
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.volumes.series import volume_from_datasets
from tests.annotation.mouse import Desk, outside, picture, told, under

from .test_annotating import enter, notebook

pytestmark = pytest.mark.slow
ROLES = {"ann": "radiologist", "ben": "radiologist", "cleo": "data-scientist"}
RADIUS, SLICES = 31.3, (8, 9)
TASK = """
import ailab_kernel as ailab
lab = ailab.open_lab()
task = lab.annotate(lab.archive.search(modality="CT"), label="heart wall", readers=("ann", "ben"), adjudicator="cleo")
print(task.ref)
"""
READ = """
import ailab_kernel as ailab
lab = ailab.open_lab()
lab.read("heart-wall@1")
"""
# What a curious reader can ask for with the token of their own kernel: every step, and every SEG that the archive holds.
PRY = """
import json, os, requests
service, token = os.environ["AILAB_SERVICE"], {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}
ask = lambda path, **asked: requests.get(f"{service}/{path}", headers=token, params=asked, timeout=30)
steps = ask("catalog/records", kind="annotation").json()
first = ask("catalog/records", kind="annotation", version=2).json() + ask("catalog/records", kind="annotation", name=steps[0]["name"], version=2).json()
segs = ask("dicom-web/series", Modality="SEG").json()
trail = ask("catalog/audit").status_code
print(json.dumps({"steps": [[one["made_by"], one["body"]["state"], one["body"]["mask"]] for one in steps], "first": first, "segs": len(segs), "trail": trail}))
"""
FORGE = """
import ailab_kernel as ailab
from ailab_kernel.ground.errors import AilabError
task = ailab.open_lab().task("heart-wall@1")
uid = task.series_uids[0]
for act in (lambda: task.submit(uid, task.mask(uid), reader="ann"), lambda: task.accept(uid, reviewer="cleo")):
    try:
        act()
    except AilabError as error:
        print(type(error).__name__)
"""
REPORT = """
import json
import ailab_kernel as ailab
lab = ailab.open_lab()
report = lab.agreement("heart-wall@1")
data = lab.datasets.freeze("heart-wall", lab.task("heart-wall@1").accepted(), split=(0, 0, 1))
print(json.dumps({"metrics": report.metrics, "same": lab.replay(report).identical, "dataset": data.ref}))
"""


class Person:
    """Somebody in a browser window of their own, who may also type into a second kernel of their server."""

    def __init__(self, clinic, browser, name: str) -> None:
        self.name, self.url = name, f"{clinic.url}/user/{name}"
        password = invite(clinic.private / "invitations", name, role=ROLES[name]).password
        self.page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        self.page.set_default_timeout(180_000)
        self.asked, self.faults = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        enter(self.page, clinic.url, name, password)
        self.visit = Visit(clinic.url, name)
        self.visit.log_in(password)
        self._kernel = ""

    def run(self, code: str, seconds: float = 180) -> str:
        self._kernel = self._kernel or self.visit.kernel()
        printed = self.visit.run(code, kernel=self._kernel, seconds=seconds)
        assert "Traceback" not in printed, printed[-3000:]
        return printed

    def sit(self, grid) -> Desk:
        notebook(self.page, self.url, READ)
        return Desk(self.page, grid).wait()

    def draw(self, grid, shift: int) -> np.ndarray:
        """Two strokes of a brush, handed in; returns what an independent rasteriser makes of the path."""
        desk, wished = self.sit(grid), np.zeros(grid.shape, bool)
        assert self.page.locator(".ailab-label small").first.text_content() == told(wished, True, desk), "it begins empty"
        desk.set_radius(RADIUS)
        for index in SLICES:
            desk.go_to(0, index)
            wished |= under(desk, desk.drag((-60 + shift, -20), (0 + shift, 28), (40 + shift, 0)), RADIUS, index)
        desk.settle()
        self.page.keyboard.press("Control+s")
        self.page.wait_for_selector(".ailab-said:has-text('handed in')")
        return wished


def test_two_readers_and_an_adjudicator(clinic, pacs, page, tmp_path):
    images = [ds for ds in make_objects(173, style="general-hospital", size=(16, 64, 64), spacing_mm=(9.0, 5.9, 5.7)) if ds.Modality == "CT"]
    archive = open_archive(pacs.url)
    archive.store(images)
    vol = volume_from_datasets(images)
    ann, ben, cleo = (Person(clinic, page.context.browser, name) for name in ROLES)
    assert cleo.run(TASK).strip() == "heart-wall@1"

    one = ann.draw(vol.grid, 0)
    picture(ann.page, "blind", tmp_path)
    assert "blind reading" in ann.page.locator(".ailab-annotate header b").text_content()
    for curious in (ben, cleo):
        seen = json.loads(curious.run(PRY))
        assert seen["steps"] == [["ann", "in progress", ""]], "that she began, and nothing else"
        assert (seen["first"], seen["segs"], seen["trail"]) == ([], 0, 403)
    assert archive.search_series(vol.study_uid, modality="SEG") == ()
    assert ben.run(FORGE).split() == ["NotFound", "WrongUse"]

    other = ben.draw(vol.grid, 44)
    assert json.loads(ann.run(PRY))["segs"] == 0
    assert {mask for _, state, mask in json.loads(ann.run(PRY))["steps"] if state == "submitted"} != {""}, "now both are open"

    desk = cleo.sit(vol.grid)
    assert "adjudication" in cleo.page.locator(".ailab-annotate header b").text_content()
    assert cleo.page.locator(".ailab-label small").first.text_content() == told(one & other, True, desk)
    desk.go_to(0, SLICES[0])
    picture(cleo.page, "adjudication", tmp_path)
    cleo.page.click("button:has-text('Accept case')")
    cleo.page.wait_for_selector("text=Case 1 is accepted; 1 of 1 are.")
    picture(cleo.page, "accepted", tmp_path)

    (found,) = archive.search_series(vol.study_uid, modality="SEG")
    (seg,) = archive.retrieve(found)
    assert np.array_equal(read_seg(seg, vol).array, one & other)
    assert not [name for name in ROLES if re.search(rf"\b{name}\b", str(seg))], "readers are pseudonyms"
    told_all = json.loads(cleo.run(REPORT, seconds=400).splitlines()[-1])
    told_pair = told_all["metrics"]["pairs"]["2 and 1"]["heart-wall"]
    assert told_pair["dice"]["mean"] == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()), abs=1e-5)
    assert told_pair["kappa"]["mean"] == pytest.approx(kappa_by_hand(one, other), abs=1e-5)
    ml = (int(other.sum()) - int(one.sum())) * vol.grid.voxel_ml
    assert told_pair["volume_error_ml"]["mean"] == pytest.approx(ml, abs=1e-5)
    assert (told_all["same"], told_all["dataset"], told_all["metrics"]["accepted"]) == (True, "heart-wall@1", 1)
    for person in (ann, ben, cleo):
        assert outside(person.asked) == set()
        assert person.faults == []


def kappa_by_hand(one: np.ndarray, other: np.ndarray) -> float:
    places = np.argwhere(one | other)
    box = tuple(slice(low, high + 1) for low, high in zip(places.min(0), places.max(0), strict=True))
    pairs = list(zip(one[box].ravel().tolist(), other[box].ravel().tolist(), strict=True))
    counts = {pair: pairs.count(pair) / len(pairs) for pair in ((True, True), (True, False), (False, True), (False, False))}
    seen = counts[True, True] + counts[False, False]
    first, second = counts[True, True] + counts[True, False], counts[True, True] + counts[False, True]
    chance = first * second + (1 - first) * (1 - second)
    return (seen - chance) / (1 - chance)
