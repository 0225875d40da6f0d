"""Who may move a case where, consensus, and time: without a browser, in a pilot."""

import numpy as np
import pytest

from ailab_kernel.annotation.desk import Sitting, open_desk, show_desk
from ailab_kernel.annotation.reader import NAME
from ailab_kernel.annotation.reading import NEXT, active_seconds, consensus, person
from ailab_kernel.annotation.reading.shown import rows
from ailab_kernel.annotation.session.records import pack
from ailab_kernel.annotation.task import create_task, get_task
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.dicom.codes import HEART, LUNG
from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.recipes.recipe import find
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

SHAPE = (4, 12, 15)
LABELS = (Label(1, "lung", LUNG), Label(2, "heart", HEART))
BRUSH = {"tool": "brush", "label": 1, "axis": 0, "index": 4, "radius_mm": 30.0, "locked": [], "within": None}


def drawn(*boxes, labels=LABELS) -> Mask:
    array = np.zeros(SHAPE, np.uint8)
    for value, columns in boxes:
        array[1:3, 2:10, columns] = value
    return Mask(array, Grid(SHAPE, np.diag([5.0, 2.0, 1.5, 1.0])), labels)


@pytest.mark.parametrize("how", ["majority", "staple"])
def test_three_readers_outvote_each_other_label_by_label(how):
    readings = [drawn((1, slice(0, 6)), (2, slice(6, 10))), drawn((1, slice(0, 8)), (2, slice(8, 10))), drawn((1, slice(0, 6)), (2, slice(6, 12)))]
    expected = drawn((1, slice(0, 6)), (2, slice(6, 10)))
    assert np.array_equal(consensus(readings, how).array, expected.array)


@pytest.mark.parametrize("how", ["majority", "staple"])
def test_of_two_readers_it_is_what_both_marked(how):
    one, other = drawn((1, slice(0, 8))), drawn((1, slice(2, 10)))
    assert np.array_equal(consensus([one, other], how).array, drawn((1, slice(2, 8))).array)
    assert not consensus([drawn(), drawn()], how).array.any()


def test_a_reliable_majority_and_staple_are_not_the_same():
    """Four readers: two careful ones who agree, two who see half; STAPLE trusts the careful, the vote is a tie."""
    careful, careless = drawn((1, slice(0, 10))), [drawn((1, slice(0, 5))), drawn((1, slice(3, 8)))]
    readings = [careful, careful, *careless]
    assert consensus(readings, "staple").array.sum() > consensus(readings, "majority").array.sum()


def test_a_consensus_needs_masks_of_one_task():
    with pytest.raises(WrongUse, match="differ in grid or labels"):
        consensus([drawn(), drawn(labels=LABELS[:1])])
    with pytest.raises(WrongUse, match="one of majority, staple"):
        consensus([drawn()], "best")


def test_active_time_leaves_out_breaks():
    times = ["2026-01-02T08:00:00.000+00:00", "2026-01-02T08:00:30.500+00:00", "2026-01-02T08:02:00.500+00:00",
             "2026-01-02T09:30:00.500+00:00", "2026-01-02T09:31:00+00:00"]
    records = [pack({"kind": "begin", "at": times[0]}), pack({"kind": "other"}), *(pack({"kind": "draw", "at": at}) for at in times[1:])]
    assert active_seconds(records) == 30.5 + 90 + 59.5
    assert active_seconds(records, idle_s=60) == 30.5 + 59.5
    assert active_seconds([]) == 0


def test_every_state_leads_on_and_to_known_ones():
    assert {after for states in NEXT.values() for after in states} == NEXT.keys() - {""}


@pytest.fixture
def uids(workspace):
    for seed in (87, 88):
        images = make_objects(seed, style="general-hospital", size=(8, 32, 32), spacing_mm=(15.0, 11.2, 11.0))
        workspace.archive.store([ds for ds in images if ds.Modality == "CT"])
    return [series.uid for series in workspace.archive.search_series(modality="CT")]


def stroke(desk, column: float, number=1) -> np.ndarray:
    points = np.array([[4, 15, column]], "<f4").tobytes()
    assert desk.session.do({"client": "c", "number": number, "kind": "draw", "operation": BRUSH}, points).span
    return desk.session.array.copy()


def test_a_double_reading_from_the_desk_to_the_accepted_mask(workspace, uids):
    task = create_task(workspace, find("heart-wall"), uids, readers=("ann", "ben"), adjudicator="cleo")

    def sit(name):
        return open_desk(get_task(workspace, task.ref), reader=name)

    def state(number=0):
        return get_task(workspace, task.ref).state(uids[number])

    assert state() == "assigned"
    first = sit("ann")
    assert "blindness is not enforced in a pilot" in first.scene["title"]
    one = stroke(first, 12.0)
    assert first._save()["sop_uid"] == ""
    first.session.close()
    assert state() == "in progress"
    second = sit("ben")
    assert not second.session.array.any(), "nothing of the other's"
    assert second.scene["cases"] == ["in progress", "assigned"]
    other = stroke(second, 16.0)
    second._save()
    second._turned({"number": 1}, b"")
    second.session.close()
    assert state() == "submitted"
    assert workspace.archive.search_series(task.image(uids[0]).study_uid, modality="SEG") == ()
    seconds = [step.seconds for step in get_task(workspace, task.ref).reading_steps(uids[0]).values()]
    assert all(0 <= one < 60 for one in seconds)

    judge = sit("cleo")
    assert judge.scene["title"].endswith("case 1 of 2, adjudication: the readings' consensus")
    assert np.array_equal(judge.session.array, one & other)
    assert [mask.array.sum() for mask in judge._references.values()] == [one.sum(), other.sum()]
    sitting = Sitting(get_task(workspace, task.ref), judge.session.case.reader)
    with pytest.raises(WrongUse, match="without a reason"):
        sitting.give_back(judge.session, " ")
    edited = stroke(judge, 20.0)
    assert sitting.accept(judge.session) == "Case 1 is accepted; 1 of 2 are."
    judge.session.close()
    now = get_task(workspace, task.ref)
    assert [step.state for step in now.steps(uids[0])][-2:] == ["reviewed", "accepted"]
    assert np.array_equal(now.mask(uids[0]).array, edited)
    assert [row["state"] for row in rows(now)] == ["accepted", "in progress"]
    assert "kept apart by the desk only" in now._repr_html_()
    assert "ann" not in now._repr_html_()
    assert [one.image.series_uid for one in now.accepted()] == uids[:1]
    with pytest.raises(WrongUse, match="in progress in its task: it cannot become reviewed"):
        open_desk(now, uids[1], reader="cleo")


def test_what_an_adjudicator_returns_is_read_again_and_the_blind_readings_stay(workspace, uids):
    task = create_task(workspace, find("heart-wall"), uids[:1], readers=("ann", "ben"), consensus="staple")
    grid = task.volume(uids[0]).grid

    def boxed(left: int) -> Mask:
        array = np.zeros(grid.shape, np.uint8)
        array[3:5, 10:20, left : left + 10] = 1
        return Mask(array, grid, task.recipe.labels)

    for reader, left in (("ann", 6), ("ben", 12)):
        task = task.submit(uids[0], boxed(left), reader=reader)
    with pytest.raises(WrongUse, match="somebody else reviews it"):
        task.give_back(uids[0], reviewer="ann", reason="no")
    task = task.give_back(uids[0], reviewer="dan", reason="which wall?")
    assert [task.state(uids[0], reader=one) for one in task.roster.readers] == ["returned", "returned"]
    task = task.submit(uids[0], boxed(8), reader="ann").submit(uids[0], boxed(8), reader="ben")
    assert np.array_equal(task.start(uids[0], "dan").array, boxed(8).array), "the newest readings' consensus"
    first = list(task.readings(uids[0]).values())
    assert np.array_equal(first[1].array, boxed(12).array), "agreement speaks of the blind ones"


def test_people_are_named_once_and_machines_say_that_they_are_machines(workspace, uids):
    with pytest.raises(WrongUse, match="another person"):
        create_task(workspace, find("heart-wall"), uids, readers=("ann", "ann"))
    with pytest.raises(WrongUse, match="another person"):
        create_task(workspace, find("heart-wall"), uids, readers=("ann",), adjudicator="ann")
    task = create_task(workspace, find("heart-wall"), uids, readers=("ann",))
    grid = task.volume(uids[0]).grid
    empty = Mask(np.zeros(grid.shape, np.uint8), grid, task.recipe.labels)
    with pytest.raises(WrongUse, match="read as one of them"):
        task.submit(uids[0], empty, reader=NAME)
    plain = create_task(workspace, find("heart-wall"), uids)
    assert plain.submit(uids[0], empty, reader=NAME).steps(uids[0])[0].reader == NAME
    assert person(workspace.catalog, "ann").startswith("reader-")
    assert plain.assign(uids[1], reader="ben").state(uids[1]) == "assigned"


def test_the_buttons_tell_what_came_of_a_click(workspace, uids):
    task = create_task(workspace, find("heart-wall"), uids[:1])
    reading = open_desk(task, reader="ann")
    stroke(reading, 12.0)
    reading._save()
    reading.session.close()
    judge, bar = show_desk(get_task(workspace, task.ref), reader="cleo")
    assert judge.scene["title"].endswith(", review")
    (accepting, returning, reason), said = bar.children[0].children, bar.children[1]
    returning.click()
    assert "Not done." in said.value
    reason.value = "apex <is> missing"
    returning.click()
    assert said.value == "Case 1 went back: apex &lt;is&gt; missing"
    accepting.click()
    assert "is returned in its task: it cannot become accepted" in said.value
    judge.session.close()
