"""From a task to the archive and back, without a browser: sessions, SEG in and out, steps."""

import numpy as np
import pytest

from ailab_kernel.annotation.desk import open_desk
from ailab_kernel.annotation.reading import person
from ailab_kernel.annotation.task import create_task, get_task
from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.datasets.styles import STYLES
from ailab_kernel.ground.errors import AnnotationError, NotFound, WrongUse
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import read_seg, write_seg
from ailab_kernel.recipes.recipe import find
from ailab_kernel.volumes.series import volume_from_datasets

BRUSH = {"tool": "brush", "label": 1, "axis": 0, "index": 4, "radius_mm": 30.0, "locked": [], "within": None}
POINTS = np.array([[4, 12, 15], [4, 14, 20]], "<f4").tobytes()


@pytest.fixture
def phantom(workspace):
    instances, seg = to_dicom(make(random_phantom(610_000, style=STYLES["mixed"], size=(20, 40, 40))))
    workspace.archive.store(instances)
    return instances, seg


@pytest.fixture
def task(workspace, phantom):
    return create_task(workspace, find("lungs"), [phantom[0][0].SeriesInstanceUID])


@pytest.fixture
def desks(task):
    opened = []

    def desk(**asked):
        opened.append(open_desk(get_task(task.workspace, task.ref), reader="viola", **asked))
        return opened[-1]

    yield desk
    for one in opened:
        if one.session.journal._lock >= 0:
            one.session.close()


def draw(desk, number=1, **asked) -> None:
    done = desk.session.do({"client": "a", "number": number, "kind": "draw", "operation": BRUSH | asked}, POINTS)
    assert done.span


def segs(task) -> list:
    found = task.workspace.archive.search_series(task.image(task.series_uids[0]).study_uid, modality="SEG")
    return [ds for series in found for ds in task.workspace.archive.retrieve(series)]


def test_what_is_saved_is_a_seg_in_the_archive_and_a_step_of_the_task(task, desks, phantom):
    desk, uid = desks(), task.series_uids[0]
    draw(desk)
    told = desk._save()
    again = desk._save()
    assert again == told, "saved twice, it is there once"
    (seg,) = segs(task)
    assert seg.SOPInstanceUID == told["sop_uid"]
    assert np.array_equal(read_seg(seg, volume_from_datasets(phantom[0])).array, desk.session.array)
    assert (seg.SegmentSequence[0].SegmentAlgorithmType, seg.ManufacturerModelName) == ("MANUAL", "AI-LAB annotate")
    assert f"{seg.ContentDate[:4]}-{seg.ContentDate[4:6]}-{seg.ContentDate[6:]}" == told["at"][:10]
    assert str(seg.ContentCreatorName) == person(task.workspace.catalog, "viola")
    now = get_task(task.workspace, task.ref)
    viola = person(task.workspace.catalog, "viola")
    assert [(step.state, step.reader) for step in now.steps(uid)] == [("in progress", viola), ("submitted", viola)]
    assert np.array_equal(now.mask(uid).array, desk.session.array)
    draw(desk, 2, index=5)
    assert desk._save()["sop_uid"] != told["sop_uid"]
    assert len(segs(task)) == 2
    get_task(task.workspace, task.ref).accept(uid, reviewer="r")
    draw(desk, 3, index=6)
    with pytest.raises(AnnotationError, match="is accepted in its task: it cannot become submitted"):
        desk._save()
    with pytest.raises(NotFound, match="waits for you; name a series"):
        desks()


def test_a_save_that_a_crash_cut_short_is_the_same_object_afterwards(task, desks, monkeypatch):
    desk = desks()
    draw(desk)
    with monkeypatch.context() as patch:
        patch.setattr("ailab_kernel.annotation.saving.seg_of", lambda *given, **asked: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            desk._save()
    at = desk.session.saved["at"]
    desk.session.journal.close()
    again = desks()
    assert again._save()["at"] == at
    assert len(segs(task)) == 1


def test_a_seg_of_another_tool_is_edited_on(task, desks, phantom):
    instances, seg = phantom
    vol = volume_from_datasets(instances)
    truth = read_seg(seg, vol)
    other = write_seg(truth, vol, Provenance("elsewhere", "4", made_from=("x",), when=desk_time(), kind="MANUAL"))
    desk = desks(seg=other)
    lungs = np.isin(truth.array, [label.index for label in truth.labels if label.name in {"lung", "lesion"}])
    assert np.array_equal(desk.session.array > 0, lungs)
    assert lungs.any()
    before = desk.session.array.copy()
    draw(desk)
    assert (desk.session.array[4] != before[4]).any()
    desk.session.do({"client": "a", "number": 2, "kind": "undo"})
    assert np.array_equal(desk.session.array, before)


def desk_time():
    from datetime import UTC, datetime

    return datetime(2026, 1, 2, tzinfo=UTC)


def test_the_archives_own_seg_and_what_was_returned_are_begun_with(task, desks, phantom):
    task.workspace.archive.store([phantom[1]])
    desk = desks(seg="archive")
    assert desk.session.array.any()
    with pytest.raises(WrongUse, match="'archive' is expected"):
        desks(seg="mine")
    desk._save()
    desk.session.close()
    get_task(task.workspace, task.ref).give_back(task.series_uids[0], reviewer="r", reason="apex")
    other = open_desk(get_task(task.workspace, task.ref), reader="otto")
    assert np.array_equal(other.session.array, desk.session.array)
    assert other.session.case.reader != desk.session.case.reader
    other.session.close()
    with pytest.raises(WrongUse, match="reader is empty"):
        open_desk(task, reader=" ")


def test_the_worklist_goes_from_case_to_case_and_each_keeps_its_strokes(workspace, phantom):
    second, _ = to_dicom(make(random_phantom(610_001, style=STYLES["mixed"], size=(20, 40, 40))))
    workspace.archive.store(second)
    task = create_task(workspace, find("lungs"), [phantom[0][0].SeriesInstanceUID, second[0].SeriesInstanceUID])
    desk = open_desk(task, reader="viola")
    draw(desk)
    first, name = desk.session.array.copy(), desk.session.case.name
    assert desk._save()["mask"]
    desk._turned({"number": 1}, b"")
    assert desk.scene["title"].endswith("case 2 of 2")
    assert desk.scene["cases"] == ["submitted", "in progress"]
    assert desk.scene["session"] == desk.session.case.name != name
    assert not desk.session.array.any()
    desk._turned({"number": 0}, b"")
    assert np.array_equal(desk.session.array, first)
    assert desk.session.can_undo
    desk._turned({"number": 0}, b"")
    draw(desk, 2, index=6)
    desk.session.close()
    following = open_desk(get_task(workspace, task.ref), reader="viola")
    assert following.scene["title"].endswith("case 2 of 2"), "what is handed in waits behind"
    following.session.close()
