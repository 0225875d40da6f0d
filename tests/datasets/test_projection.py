"""A radiograph made of a volume keeps its sides and its widths, from any order of the axes; the ratio is by hand."""

import numpy as np
import pytest

from ailab_kernel.datasets.projection import cardiothoracic_ratio, enlarged, project, radiograph_study
from ailab_kernel.dicom.codes import CARDIAC_CHAMBER, LUNG
from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

# Slice axis to the head, row axis to the back, column axis to the left (LPS): 4 x 5 x 2 mm.
AFFINE = np.array([[0, 0, 2, -20], [0, 5, 0, -10], [4, 0, 0, 0], [0, 0, 0, 1]], float)
LABELS = (Label(1, "lung", LUNG), Label(3, "heart-cavity", CARDIAC_CHAMBER))


def block() -> np.ndarray:
    """Air with a dense block near the head on the patient's left."""
    hu = np.full((20, 8, 40), -1000, np.int16)
    hu[14:18, 2:6, 28:36] = 40
    return hu


def test_a_pixel_is_the_attenuation_along_its_ray():
    picture = project(Volume(block(), Grid((20, 8, 40), AFFINE)), pixels=40)
    assert picture.shape == (40, 40)
    assert picture.dtype == np.float32
    assert picture[:, :20].max() == pytest.approx(0, abs=1e-6), "air on the patient's right, which is left in the picture"
    assert picture[20:].max() == pytest.approx(0, abs=1e-6), "and toward the feet"
    _, columns = np.nonzero(picture > 0.05)
    assert columns.min() in {27, 28}
    assert columns.max() in {35, 36}
    # 4 rows of 5 mm of 40 HU: 20 mm of 1.04 times water.
    assert np.median(picture[picture > 0.05]) == pytest.approx(1 - np.exp(-20 * 1.04 * 0.0206 / 3), rel=0.02)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_stack_is_the_same_radiograph(axis):
    grid = Grid((20, 8, 40), AFFINE)
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
    affine[:3, axis] *= -1
    flipped = Volume(np.flip(block(), axis).copy(), Grid(grid.shape, affine))
    np.testing.assert_allclose(project(flipped, pixels=40), project(Volume(block(), grid), pixels=40), atol=1e-6)


def test_slices_from_another_plane_are_the_same_radiograph():
    sagittal = np.ascontiguousarray(block().transpose(2, 0, 1))
    there = project(Volume(sagittal, Grid(sagittal.shape, AFFINE[:, [2, 0, 1, 3]])), pixels=40)
    np.testing.assert_allclose(there, project(Volume(block(), Grid((20, 8, 40), AFFINE)), pixels=40), atol=1e-6)


def test_a_single_slice_has_no_front():
    with pytest.raises(VolumeError, match="no depth"):
        project(Volume(np.zeros((1, 8, 8), np.int16), Grid((1, 8, 8), np.eye(4))))


def masked(heart: int) -> Mask:
    """A chest of 30 columns at its widest, 24 elsewhere, and a heart so many columns wide over all levels."""
    truth = np.zeros((10, 6, 40), np.uint8)
    truth[1:9, 1:5, 6:30] = 1
    truth[4, 1:5, 4:34] = 1
    truth[2:4, 2:4, 10:10 + heart - 3] = 3
    truth[5, 2, 12:10 + heart] = 3
    return Mask(truth, Grid(truth.shape, AFFINE), LABELS)


@pytest.mark.parametrize("heart", [12, 15, 16, 20])
def test_the_ratio_is_by_hand(heart):
    assert cardiothoracic_ratio(masked(heart)) == pytest.approx(heart / 30)
    assert enlarged(masked(heart)) == (heart > 15), "half is not more than half"


def test_without_a_heart_there_is_no_ratio():
    empty = Mask(np.zeros((4, 4, 4), np.uint8), Grid((4, 4, 4), AFFINE), LABELS)
    with pytest.raises(VolumeError, match="heart and lungs"):
        cardiothoracic_ratio(empty)


def test_phantoms_are_radiographs_of_small_and_large_hearts():
    studies = [radiograph_study(seed) for seed in range(6)]
    ratios = [cardiothoracic_ratio(study.truth) for study in studies]
    assert min(ratios) < 0.47
    assert max(ratios) > 0.5
    pictures = [project(study.volume) for study in studies]
    for picture in pictures:
        middle = picture[40:90, 20:108]
        assert picture.shape == (128, 128)
        assert 0 <= picture.min() < 0.05 < 0.6 < picture.max() < 1
        assert np.abs(middle - middle[:, ::-1]).mean() > 0.02, "a chest has a left and a right"
    assert len({picture.tobytes() for picture in pictures}) == 6
