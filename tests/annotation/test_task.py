import numpy as np
import pytest

from ailab_kernel.annotation.assist import annotate_case
from ailab_kernel.annotation.reader import correct
from ailab_kernel.annotation.task import create_task, get_task
from ailab_kernel.datasets.dataset import Datasets
from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.datasets.styles import STYLES
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.ground.errors import DatasetError, NotFound, WrongUse
from ailab_kernel.recipes.recipe import find
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

SHAPE = (4, 6, 8)
LABEL = Label(1, "lung", LUNG)


def mask(array):
    return Mask(array.astype(np.uint8), Grid(SHAPE, np.diag([3.0, 2.0, 1.0, 1.0])), (LABEL,))


def test_the_simulated_reader_redraws_bad_slices_only():
    truth, proposal = np.zeros(SHAPE), np.zeros(SHAPE)
    truth[1:3, 1:5, 1:7] = 1
    proposal[1, 1:5, 1:7] = 1
    proposal[1, 4, 6] = 0          # 23 of 24 voxels: good enough, left as it is
    proposal[2, 1:3, 1:7] = 1      # half: redrawn
    proposal[3, 0, 0] = 1          # nothing there: redrawn empty
    fixed = correct(mask(proposal), mask(truth)).array
    assert np.array_equal(fixed[1], proposal[1])
    assert np.array_equal(fixed[2], truth[2])
    assert fixed[3].sum() == 0


@pytest.fixture
def studies(workspace):
    for seed in (610_000, 610_001):
        instances, seg = to_dicom(make(random_phantom(seed, style=STYLES["mixed"], size=(20, 40, 40))))
        workspace.archive.store([*instances, seg] if seed == 610_000 else instances)
    return workspace.archive.search_series(modality="CT")


@pytest.fixture
def task(workspace, studies):
    return create_task(workspace, find("lungs"), [series.uid for series in studies])


def test_the_same_task_is_made_once(workspace, studies, task):
    again = create_task(workspace, find("lungs"), [series.uid for series in studies])
    assert again.ref == task.ref == "lungs@1"
    assert get_task(workspace, "lungs").record == task.record
    with pytest.raises(NotFound):
        get_task(workspace, "lungs@2")
    with pytest.raises(WrongUse, match="no studies"):
        create_task(workspace, find("lungs"), [])


def test_the_steps_of_a_case(task):
    uid = task.series_uids[0]
    grid = task.volume(uid).grid
    drawn = Mask(np.ones(grid.shape, np.uint8), grid, task.recipe.labels)
    with pytest.raises(WrongUse, match="nothing was submitted"):
        task.accept(uid, reviewer="r")
    task = task.submit(uid, drawn, reader="reader-1").give_back(uid, reviewer="r", reason="apex is missing")
    assert task.state(uid) == "returned"
    assert task.accepted() == ()
    task = task.submit(uid, drawn, reader="reader-1").accept(uid, reviewer="r")
    assert [step.state for step in task.steps(uid)] == ["submitted", "returned", "submitted", "accepted"]
    assert np.array_equal(task.mask(uid).array, drawn.array)
    with pytest.raises(WrongUse, match="cannot become submitted"):
        task.submit(uid, drawn, reader="reader-2")
    (accepted,) = task.accepted()
    assert accepted.image.series_uid == uid
    with pytest.raises(NotFound, match="not in task"):
        task.state("1.2.3")


def test_a_segmentation_of_the_archive_becomes_an_annotation(workspace, task):
    told = {}
    for uid in task.series_uids:
        try:
            told[uid] = annotate_case(workspace, task.ref, uid, reader="reference")["state"]
        except NotFound as error:
            told[uid] = str(error)
    assert sorted(told.values())[0] == "accepted"
    assert "a person has to annotate it" in sorted(told.values())[1]
    accepted = get_task(workspace, task.ref).accepted()
    data = Datasets(workspace.catalog).freeze("lungs", accepted, split=(0, 0, 1))
    vol, truth = Datasets(workspace.catalog).load(data.cases[0], data.labels)
    assert truth.grid.matches(vol.grid)
    assert 100 < truth.volumes_ml()["lung"] < 9000
    assert not vol.headers, "no header comes to the research side"
    with pytest.raises(WrongUse, match="one of none, simulated, reference"):
        annotate_case(workspace, task.ref, task.series_uids[0], reader="nobody")


def test_nothing_accepted_is_nothing_frozen(workspace, task):
    with pytest.raises(DatasetError, match="nothing to freeze"):
        Datasets(workspace.catalog).freeze("lungs", task.accepted())
