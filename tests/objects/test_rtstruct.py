"""RT Structure Sets: areas that are known, holes, oblique series, a real plan, and another rasteriser beside ours."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from pydicom import Dataset

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import DicomError, ObjectError
from ailab_kernel.objects.rtstruct import inside, read_rtstruct
from ailab_kernel.objects.seg import read_segments, write_seg
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.series import volume_from_datasets
from tests.objects.drawings import PROVENANCE
from tests.volumes.synthetic import grid, series

PLACE = grid(shape=(6, 60, 80), spacing=(2.5, 0.9, 0.7))
RING = "RING"


def contour(points, kind="CLOSED_PLANAR", place=PLACE):
    """A contour item of grid indices, shape (points, 3) of slice, row, column."""
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    world = np.column_stack([points, np.ones(len(points))]) @ place.affine.T
    item.ContourData = [f"{v:.12g}"[:16] for v in world[:, :3].ravel()]
    return item


def structures(**by_name):
    """An RT Structure Set whose structures have these contour items."""
    ds = Dataset()
    ds.Modality, ds.SOPInstanceUID = "RTSTRUCT", "1.2.3"
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (name, items) in enumerate(by_name.items(), 7):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, volume().frame_of_reference_uid
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [10, 200, 30], items
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return ds


def volume():
    return volume_from_datasets(series(PLACE))


def ellipse(k, *, middle=(30, 40), radii=(20, 28), count=720):
    angle = np.arange(count) / count * 2 * np.pi
    return np.column_stack(
        [np.full(count, k), middle[0] + radii[0] * np.cos(angle), middle[1] + radii[1] * np.sin(angle)]
    )


def only(found):
    return next(iter(found.values()))


def test_an_ellipse_has_its_area():
    found = read_rtstruct(structures(Heart=[contour(ellipse(2)), contour(ellipse(3))]), volume())
    label, array = next(iter(found.items()))
    assert (label.index, label.name, label.color) == (1, "heart", (10, 200, 30))
    assert array.sum(axis=(1, 2)).tolist()[:2] == [0, 0]
    assert array[2].sum() == pytest.approx(np.pi * 20 * 28, rel=1e-2)
    rows, columns = np.indices(PLACE.shape[1:])
    distance = ((rows - 30) / 20) ** 2 + ((columns - 40) / 28) ** 2
    clear = np.abs(distance - 1) > 1e-3
    assert np.array_equal(array[3][clear], (distance < 1)[clear])


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_in_a_contour_is_a_hole(kind):
    outer, inner = ellipse(1), ellipse(1, radii=(9, 11))
    array = only(read_rtstruct(structures(Ring=[contour(outer, kind), contour(inner, kind)]), PLACE))
    assert array.sum() == pytest.approx(np.pi * (20 * 28 - 9 * 11), rel=3e-3)
    assert not array[1, 30, 40]


def test_a_keyhole_is_the_same_hole():
    outer, inner = ellipse(1), ellipse(1, radii=(9, 11))
    keyhole = np.vstack([outer, outer[:1], inner[::-1], inner[-1:], outer[:1]])
    keyhole = np.vstack([outer, outer[:1], inner[:1], inner[::-1], outer[:1]])
    apart = only(read_rtstruct(structures(Ring=[contour(outer), contour(inner)]), PLACE))
    assert np.array_equal(only(read_rtstruct(structures(Ring=[contour(keyhole)]), PLACE)), apart)


def test_neighbours_with_a_common_edge_share_nothing_and_leave_nothing_out():
    """The edge runs exactly through voxel centres."""

    def box(top, left, bottom, right):
        return contour(np.array([[4, top, left], [4, top, right], [4, bottom, right], [4, bottom, left]]))

    found = read_rtstruct(structures(A=[box(5, 5, 10, 20)], B=[box(10, 5, 15, 20)], C=[box(5, 20, 15, 30)]), PLACE)
    together = sum(array.astype(int) for array in found.values())
    assert together.max() == 1
    assert together[4, 5:15, 5:30].all()
    assert together.sum() == 10 * 25


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6), st.integers(3, 40), st.integers(1, 4))
def test_another_rasteriser_agrees(seed, count, contours):
    """matplotlib's point-in-path test, contour by contour, combined by exclusive or; corners lie between centres."""
    random = np.random.default_rng(seed)
    polygons = [random.uniform(-3, 30, (count, 2)) for _ in range(contours)]
    rows, columns = np.indices((26, 28))
    centres = np.column_stack([rows.ravel(), columns.ravel()])
    expected = np.zeros(len(centres), bool)
    for polygon in polygons:
        expected ^= even_odd(polygon, centres)
    assert np.array_equal(inside(polygons, (26, 28)).ravel(), expected)


def even_odd(polygon, centres):
    """matplotlib counts windings; the pieces of a polygon that crosses itself are told apart by triangles from a corner."""
    found = np.zeros(len(centres), bool)
    for one, other in pairwise(polygon[1:]):
        found ^= Outline([polygon[0], one, other, polygon[0]], closed=True).contains_points(centres)
    return found


def test_structures_become_segments():
    vol = volume()
    found = read_rtstruct(structures(Body=[contour(ellipse(2))], Heart=[contour(ellipse(2, radii=(5, 6)))]), vol)
    again = read_segments(write_seg(found, vol, PROVENANCE), vol)
    assert [label.name for label in again] == ["body", "heart"]
    assert all(np.array_equal(one, other) for one, other in zip(again.values(), found.values(), strict=True))


def test_contours_between_slices_are_named_or_drawn_on_the_nearest():
    ds = structures(Heart=[contour(ellipse(k + 0.4)) for k in (1, 2, 3)])
    found = read_rtstruct(ds, PLACE)
    with pytest.raises(ObjectError, match=r"structure 1: 3 contour planes lie between the slices, the first at slice 1\.4"):
        only(found)
    near = only(read_rtstruct(ds, PLACE, between="nearest"))
    assert near.any(axis=(1, 2)).tolist() == [False, True, True, True, False, False]
    thick = structures(Heart=[contour(ellipse(k)) for k in (0, 3)])
    assert only(read_rtstruct(thick, PLACE, between="nearest")).any(axis=(1, 2)).tolist() == [True] * 5 + [False]
    # Planes finer than the slices are not put upon each other, where they would cancel.
    fine = structures(Heart=[contour(ellipse(k / 4)) for k in range(20)])
    assert (only(read_rtstruct(fine, PLACE, between="nearest")).sum(axis=(1, 2))[:5] > 1000).all()


def test_contours_of_another_orientation_are_named():
    steep = ellipse(2)
    steep[:, 0] += steep[:, 1] / 20
    with pytest.raises(ObjectError, match="not parallel to the slices"):
        only(read_rtstruct(structures(Heart=[contour(steep)]), PLACE))


def test_what_reaches_beyond_is_named_or_cut():
    ds = structures(Body=[contour(ellipse(5)), contour(ellipse(6)), contour(ellipse(4, middle=(2, 40)))])
    with pytest.raises(ObjectError, match="structure 1 reaches beyond"):
        only(read_rtstruct(ds, PLACE))
    with pytest.raises(ObjectError, match="structure 1 reaches beyond"):
        only(read_rtstruct(ds, PLACE, between="nearest"))
    cut = only(read_rtstruct(ds, PLACE, beyond="cut"))
    assert cut.any(axis=(1, 2)).tolist() == [False] * 4 + [True, True]
    assert np.array_equal(cut[4, 0], np.abs(np.arange(80) - 40) < 28 * np.sqrt(1 - (2 / 20) ** 2))


def test_points_and_lines_have_no_area():
    ds = structures(Isocentre=[contour(ellipse(2)[:1], "POINT")], Heart=[contour(ellipse(2))], Empty=[])
    found = read_rtstruct(ds, PLACE)
    assert [label.name for label in found] == ["heart"]
    assert [label.name for label in found.without_area] == ["isocentre", "empty"]


def test_another_scans_structures_are_refused():
    ds = structures(Heart=[contour(ellipse(2))])
    ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    with pytest.raises(ObjectError, match=r"frame of reference 1\.2\.3"):
        read_rtstruct(ds, volume())
    assert only(read_rtstruct(ds, PLACE)).any()
    with pytest.raises(ObjectError, match="not an RT Structure Set"):
        read_rtstruct(volume().headers[0], PLACE)


def points_lie(item):
    item.NumberOfContourPoints = 2**31 - 1


def not_finite(item):
    item.add_new("ContourData", "DS", ["1e400", "0", "0", "1", "1", "1", "2", "2", "2"])
    item.NumberOfContourPoints = 3


def far(item):
    item.ContourData = ["1e30", "0", "0", "1", "1", "1", "2", "2", "2"]
    item.NumberOfContourPoints = 3


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("change", [points_lie, not_finite, far])
def test_contours_that_lie_are_one_error(change):
    ds = structures(Heart=[contour(ellipse(2))])
    change(ds.ROIContourSequence[0].ContourSequence[0])
    with pytest.raises((ObjectError, DicomError)):
        read_rtstruct(ds, PLACE)


def shoelace(contour_item) -> float:
    points = np.array([float(v) for v in contour_item.ContourData]).reshape(-1, 3)[:, :2]
    following = np.roll(points, -1, axis=0)
    return float(points[:, 0] @ following[:, 1] - points[:, 1] @ following[:, 0]) / 2


def test_a_real_plan(shared_data):
    """Heart and lung of a planning CT: volumes by voxels beside volumes by the polygons' own areas."""
    folder = shared_data / "rt_example" / "tests" / "testdata" / "example_data"
    ct, plan = read_dataset(folder / "ct.0.dcm"), read_dataset(folder / "rtss.dcm")
    first = volume_from_datasets([ct])
    affine = first.grid.affine.copy()
    affine[:3, 0], affine[2, 3] = [0, 0, 3.0], -122.44
    found = read_rtstruct(plan, Grid((98, 512, 512), affine))
    assert [label.name for label in found.without_area] == ["areola"]
    items = {
        item.ReferencedROINumber: item.ContourSequence for item in plan.ROIContourSequence if "ContourSequence" in item
    }
    for label in found:
        if label.name in {"heart", "lt-lung", "breast", "tumor-bed"}:
            mm3 = 3.0 * sum(abs(shoelace(item)) for item in items[label.index])
            assert found[label].sum() * found.grid.voxel_ml * 1000 == pytest.approx(mm3, rel=0.02), label.name
    with pytest.raises(ObjectError, match="beyond='cut'"):
        only(read_rtstruct(plan, first))
    cut = read_rtstruct(plan, first, beyond="cut")
    assert only(cut).sum() > 1000
