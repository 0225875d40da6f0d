"""Where things are on the screen: the canary's own voxels, and letters of series that are known."""

import numpy as np
import pytest

from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.planes import planes_of


def grid(slice_to, row_to, column_to, spacing=(3.0, 2.0, 1.0)) -> Grid:
    """Directions, LPS, in which the slice, row and column index grow."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([slice_to, row_to, column_to], float).T * spacing
    return Grid((4, 5, 6), affine)


L, P, S = np.eye(3)
AXIAL = {"feet first": grid(S, P, L), "head first": grid(-S, P, L), "mirrored": grid(S, P, -L), "prone": grid(S, -P, -L)}


@pytest.mark.parametrize("name", AXIAL)
def test_axial_is_seen_from_the_feet_whatever_the_storage(name):
    plane = planes_of(AXIAL[name])[0]
    assert (plane.name, plane.axis) == ("axial", 0)
    assert (plane.right.begin, plane.right.end, plane.down.begin, plane.down.end) == ("R", "L", "A", "P")
    assert plane.falls == (name == "head first")
    assert plane.right.falls == (name in {"mirrored", "prone"})
    assert plane.down.falls == (name == "prone")
    assert (plane.right.mm, plane.down.mm) == (1.0, 2.0)


def test_coronal_and_sagittal_series_are_shown_first_and_upright():
    coronal = planes_of(grid(P, -S, L))[0]
    assert (coronal.name, coronal.right.end, coronal.down.begin, coronal.down.falls) == ("coronal", "L", "H", False)
    sagittal = planes_of(grid(L, -S, P))
    assert [plane.name for plane in sagittal] == ["sagittal", "axial", "coronal"]
    assert (sagittal[0].right.begin, sagittal[0].right.end, sagittal[0].down.end) == ("A", "P", "F")


def test_every_plane_of_the_oblique_canary_points_as_patients_do():
    volume = make_canary().volume
    for plane in planes_of(volume.grid):
        wished = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane.name]
        for side, patient, sign in ((plane.right, wished[0], 1), (plane.down, wished[1], 1 if wished[1] == 1 else -1)):
            direction = volume.grid.affine[:3, side.axis] * (-1 if side.falls else 1)
            assert np.abs(direction).argmax() == patient
            assert direction[patient] * sign > 0
            assert side.mm == pytest.approx(np.linalg.norm(direction))
            assert len(side.begin) == len(side.end) == 2, "a slanted series says so"
