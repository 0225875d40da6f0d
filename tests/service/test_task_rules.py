"""A double reading through the service: what a reader's own kernel may ask for changes nothing about who sees what."""

import numpy as np
import pytest

from ailab_kernel.annotation.desk import Sitting, open_desk
from ailab_kernel.annotation.reading import pseudonym
from ailab_kernel.annotation.task import create_task, get_task
from ailab_kernel.datasets.dataset import Datasets
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.ground.errors import AnnotationError, NotFound, WrongUse
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from ailab_kernel.recipes.recipe import find
from ailab_kernel.workspace import open_workspace
from tests.service.serving import serving, token

BRUSH = {"tool": "brush", "label": 1, "axis": 0, "radius_mm": 30.0, "locked": [], "within": None}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service"), *(f"{name}/radiologist" for name in ("ann", "ben", "cleo", "dan")), bases=True) as running:
        yield running


@pytest.fixture
def seats(house, tmp_path, monkeypatch):
    """Everybody's workspace at once, each with their own token."""

    def _of(name: str):
        variable = f"TOKEN_{name.upper()}"
        monkeypatch.setenv(variable, token(name))
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        workspace = open_workspace(folder, home=folder / "lab", archive=f"dicomweb+{house.url}/dicom-web?token_env={variable}")
        workspace.__dict__["catalog"] = RemoteCatalog(house.url, token_env=variable, cache=folder / "objects")
        return workspace

    return {name: _of(name) for name in ("ann", "ben", "cleo", "dan", "data-scientist")}


def phantom(seats, seed: int) -> str:
    images = [ds for ds in make_objects(seed, style="general-hospital", size=(8, 32, 32), spacing_mm=(15.0, 11.2, 11.0)) if ds.Modality == "CT"]
    seats["data-scientist"].archive.store(images)
    return images[0].SeriesInstanceUID


def double(seats, seed: int):
    return create_task(seats["data-scientist"], find("heart-wall"), [phantom(seats, seed)], readers=("ann", "ben"), adjudicator="cleo")


def at(task, seats, name):
    return get_task(seats[name], task.ref)


def drawn(task, seats, name: str, column: float):
    """Hand in one disc, as somebody's desk does."""
    desk = open_desk(at(task, seats, name), reader=name)
    points = np.array([[4, 15, column]], "<f4").tobytes()
    assert desk.session.do({"client": name, "number": 1, "kind": "draw", "operation": BRUSH | {"index": 4}}, points).span
    told = desk._save()
    array = desk.session.array.copy()
    desk.session.close()
    return array, told


def records(house, person: str) -> list[dict]:
    return house.ask(person, "GET", "catalog/records", params={"kind": "annotation"}).json()


def test_two_readers_an_adjudicator_and_nobody_sees_anything_too_early(house, seats):
    task = double(seats, 81)
    uid = task.series_uids[0]
    first, told = drawn(task, seats, "ann", 12.0)
    assert told["sop_uid"] == ""
    study = task.image(uid).study_uid
    for name in ("ben", "cleo", "dan", "data-scientist"):
        assert [step.state for step in at(task, seats, name).steps(uid)] == ["in progress"]
        assert at(task, seats, name).state(uid) == "in progress"
        assert all(one["body"]["state"] == "in progress" for one in records(house, name) if one["body"]["series"] == uid)
        assert seats[name].archive.search_series(study, modality="SEG") == ()
    assert at(task, seats, "ben").start(uid, pseudonym(house.desk.realms.lab, "ben")) is None
    with pytest.raises(WrongUse, match="in progress in its task: it cannot become"):
        open_desk(at(task, seats, "cleo"), uid, reader="cleo")
    with pytest.raises(NotFound, match="waits for you"):
        open_desk(at(task, seats, "dan"), reader="dan")

    second, _ = drawn(task, seats, "ben", 16.0)
    now = at(task, seats, "cleo")
    assert now.state(uid) == "submitted"
    readings = list(now.readings(uid).values())
    assert np.array_equal(readings[0].array, first)
    assert np.array_equal(readings[1].array, second)
    with pytest.raises(WrongUse, match="no consensus yet"):
        now.accept(uid, reviewer="cleo")
    with pytest.raises(WrongUse, match="their readings stand"):
        at(task, seats, "ann").submit(uid, readings[0], reader="ann")

    desk = open_desk(now, reader="cleo")
    assert np.array_equal(desk.session.array, first & second)
    assert (first & second).sum() < first.sum()
    said = Sitting(now, desk.session.case.reader).accept(desk.session)
    assert said == "Case 1 is accepted; 1 of 1 are."
    desk.session.close()
    (seg,) = [ds for one in seats["dan"].archive.search_series(study, modality="SEG") for ds in seats["dan"].archive.retrieve(one)]
    assert str(seg.ContentCreatorName) == pseudonym(house.desk.realms.lab, "cleo")
    accepted = at(task, seats, "data-scientist").accepted()
    data = Datasets(seats["data-scientist"].catalog)
    frozen = data.freeze("heart-wall", accepted, split=(0, 0, 1))
    _, truth = data.load(frozen.cases[0], frozen.labels)
    assert np.array_equal(truth.array, first & second)


def test_nobody_writes_anothers_step_whatever_their_kernel_says(house, seats):
    task = double(seats, 82)
    uid = task.series_uids[0]
    grid = task.volume(uid).grid
    mask = find_mask(grid, task)
    with pytest.raises(WrongUse, match="written by its own reader"):
        at(task, seats, "ann").submit(uid, mask, reader="ben")
    with pytest.raises(WrongUse, match="read as one of them"):
        at(task, seats, "dan").submit(uid, mask, reader="dan")
    at(task, seats, "ann").submit(uid, mask, reader="ann")
    own = next(one for one in records(house, "ann") if one["made_by"] == "ann" and one["body"]["series"] == uid)
    open_one = {key: value for key, value in own["body"].items() if key != "blind"}
    forged = [
        open_one,                                                          # not blind
        open_one | {"state": "accepted"},                                  # her own
        open_one | {"state": "accepted", "reader": "simulated reader"},    # nobody's
        open_one | {"state": "reviewed", "reader": pseudonym(house.desk.realms.lab, "cleo")},
        own["body"] | {"series": "1.2.3"},
        own["body"] | {"seconds": "long"},
        own["body"] | {"note": "see my SEG"},
    ]
    for body in forged:
        told = {"kind": "annotation", "name": own["name"], "body": body | {"number": 9}, "parents": [task.record.digest]}
        assert house.ask("ann", "POST", "catalog/records", json=told).status_code == 400, body
    for told in ({"name": own["name"]}, {"name": "task-1", "parents": [task.record.digest]}, {"parents": [task.record.digest]}):
        assert house.ask("ann", "POST", "catalog/records", json={"kind": "annotation", "body": own["body"], **told}).status_code == 400
    again = {"kind": "annotation", "name": own["name"], "body": own["body"], "parents": [task.record.digest]}
    assert house.ask("ann", "POST", "catalog/records", json=again).json()["seq"] == own["seq"], "sent twice, it is there once"


def find_mask(grid, task):
    from ailab_kernel.volumes.masks import Mask

    array = np.zeros(grid.shape, np.uint8)
    array[3:5, 10:20, 8:20] = 1
    return Mask(array, grid, task.recipe.labels)


def test_a_case_that_is_assigned_is_its_readers_and_is_reviewed_by_another(house, seats):
    task = create_task(seats["data-scientist"], find("heart-wall"), [phantom(seats, 83)])
    uid = task.series_uids[0]
    with pytest.raises(WrongUse, match="assigned by whoever made the task"):
        at(task, seats, "ann").assign(uid, reader="ann")
    task = task.assign(uid, reader="ben")
    with pytest.raises(WrongUse, match="assigned to another reader"):
        at(task, seats, "ann").submit(uid, find_mask(task.volume(uid).grid, task), reader="ann")
    _, told = drawn(task, seats, "ben", 12.0)
    assert told["sop_uid"], "a single reading is in the archive at once"
    with pytest.raises(WrongUse, match="somebody else reviews it"):
        at(task, seats, "ben").accept(uid, reviewer="ben")
    returned = at(task, seats, "ann").give_back(uid, reviewer="ann", reason="apex")
    assert returned.steps(uid)[-1].reason == "apex"
    desk = open_desk(at(task, seats, "ben"), reader="ben")
    desk._save()
    desk.session.close()
    assert at(task, seats, "ann").accept(uid, reviewer="ann").state(uid) == "accepted"
    desk = open_desk(at(task, seats, "ben"), uid, reader="ben")
    points = np.array([[4, 15, 20.0]], "<f4").tobytes()
    desk.session.do({"client": "ben", "number": 2, "kind": "draw", "operation": BRUSH | {"index": 5}}, points)
    with pytest.raises(AnnotationError, match="cannot become submitted"):
        desk._save()
    desk.session.close()
