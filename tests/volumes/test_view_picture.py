"""Pictures of volumes and labels in a cell: each plane the right way round, in proportion, outlined, nobody named."""

import base64
import re
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.dicom.codes import HEART, LUNG
from ailab_kernel.ground.errors import VolumeError, WrongUse
from ailab_kernel.inference import Results
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import read_seg, read_segments, write_seg
from ailab_kernel.reports.render import clean
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.planes import planes_of
from ailab_kernel.volumes.view import as_html, window_of
from ailab_kernel.volumes.view.legend import label_colors, legend
from ailab_kernel.volumes.volume import Volume

MARGIN = 22
WHEN = datetime(2024, 1, 2, tzinfo=UTC)


def volume(axes: np.ndarray | None = None, **facts: str) -> Volume:
    """A block that is bright at the patient's left (L), back (P) and head (H), 20 x 30 x 40 voxels of 3 x 1 x 2 mm."""
    affine = np.eye(4)
    # array axes: slices to the head, rows to the back, columns to the left
    affine[:3, :3] = np.array([[0, 0, 2.0], [0, 1.0, 0], [3.0, 0, 0]]) if axes is None else axes
    array = np.zeros((20, 30, 40), dtype=np.int16)
    point = affine[:3, :3] @ (np.indices(array.shape).reshape(3, -1) - np.array([[10], [15], [20]]))
    far = (point > 4).reshape(3, *array.shape)
    array[far[0]], array[far[1]], array[far[2]] = 100, 200, 300
    return Volume(array, Grid(array.shape, affine), facts=facts)


def pictures(page: str) -> dict[str, np.ndarray]:
    """Every plane without its frame, by name; fails where a report would drop it."""
    found = re.findall(r'alt="(\w+),[^"]*"[^>]*src="data:image/png;base64,([^"]+)"', page)
    return {name: np.asarray(Image.open(BytesIO(base64.b64decode(data))))[MARGIN:-MARGIN, MARGIN:-MARGIN] for name, data in found}


def planes(vol: Volume) -> dict[str, np.ndarray]:
    return pictures(as_html(vol))


@pytest.mark.parametrize("axes", [
    None, [[0, 0, -2.0], [0, -1.0, 0], [-3.0, 0, 0]], [[3.0, 0, 0], [0, 0, -2.0], [0, 1.0, 0]], [[0, 1, 0], [3, 0, 0], [0, 0, -2]],
], ids=["usual", "all turned round", "sagittal slices", "coronal slices"])  # fmt: skip
def test_each_plane_lies_as_radiologists_look_at_it(axes):
    shown = planes(volume(None if axes is None else np.array(axes, dtype=float)))
    assert set(shown) == {"axial", "coronal", "sagittal"}
    axial, coronal, sagittal = (shown[name].astype(int) for name in ("axial", "coronal", "sagittal"))
    assert axial[:, -5].mean() > axial[:, 5].mean(), "the patient's left is on the right"
    assert axial[-5].mean() > axial[5].mean(), "the back is below"
    assert coronal[5].mean() > coronal[-5].mean(), "the head is on top"
    assert coronal[:, -5].mean() > coronal[:, 5].mean(), "the patient's left is on the right"
    assert sagittal[5].mean() > sagittal[-5].mean(), "the head is on top"
    assert sagittal[:, -5].mean() > sagittal[:, 5].mean(), "the nose is on the left"


def test_the_proportion_is_the_patients():
    shown = planes(volume())
    assert shown["axial"].shape == (round(280 * 30 / 80), 280)
    assert shown["coronal"].shape == (round(280 * 60 / 80), 280)
    assert shown["sagittal"].shape == (280, round(280 * 30 / 60))


def test_it_tells_size_and_names_nobody():
    vol = make(random_phantom(9, size=(8, 40, 48))).volume
    page = as_html(vol)
    assert "8 × 40 × 48 (slices, rows, columns)" in page
    assert window_of(vol) == (-160.0, 240.0), "soft tissue"
    assert "PHANTOM" not in page
    assert repr(vol).startswith("Volume(8 x 40 x 48, ")
    assert "array" not in repr(vol)


def test_a_flat_image_has_a_picture_too():
    flat = Volume(np.full((3, 4, 5), 7, dtype=np.int16), Grid((3, 4, 5), np.eye(4)))
    assert len(planes(flat)) == 3
    assert window_of(flat) == (7.0, 8.0)


def test_rescaling_by_slice_counts():
    slopes = np.arange(1, 21, dtype=np.float32).reshape(20, 1, 1)
    vol = Volume(np.ones((20, 30, 40), dtype=np.int16), Grid((20, 30, 40), np.eye(4)), slope=slopes)
    low, high = window_of(vol)
    assert 1 <= low < 2
    assert 19 < high <= 20


def label(index: int, name: str, **more) -> Label:
    return Label(index, name, {"heart": HEART, "lung": LUNG}.get(name, LUNG), **more)


def test_outlines_lie_where_the_labels_are_on_the_oblique_canary():
    canary = make_canary()
    page = as_html(canary.volume, canary.mask)
    color = np.array(canary.mask.labels[0].color)
    grid, at = canary.volume.grid, {"axial": 3, "coronal": 6, "sagittal": 8}     # where it has the most voxels
    for plane in planes_of(grid):
        assert f"{plane.name}, {('slice', 'row', 'column')[plane.axis]} {at[plane.name]}<" in page
        picture = pictures(page)[plane.name]
        drawn = (picture == color).all(axis=2)
        cut = np.take(canary.mask.array, at[plane.name], axis=plane.axis)
        other = [axis for axis in range(3) if axis != plane.axis]
        rows, columns = np.nonzero(cut)
        index = dict(zip(other, (rows, columns), strict=True))
        for side, pixels in ((plane.down, np.nonzero(drawn)[0]), (plane.right, np.nonzero(drawn)[1])):
            size = grid.shape[side.axis]
            ends = np.array([index[side.axis].min(), index[side.axis].max() + 1])
            wished = np.sort(size - ends if side.falls else ends) * picture.shape[0 if side is plane.down else 1] / size
            np.testing.assert_allclose([pixels.min(), pixels.max() + 1], wished, atol=1)
        assert drawn.sum() < 0.2 * drawn.size, "an outline, no fill"


def test_labels_without_an_image_are_filled_and_outlined():
    canary = make_canary()
    mask = read_seg(canary.seg, canary.volume)
    axial = pictures(mask._repr_html_())["axial"]
    color = np.array(mask.labels[0].color)
    inside = (axial == (color * 0.45).astype(np.uint8)).all(axis=2)
    assert inside.sum() > (axial == color).all(axis=2).sum() > 0
    assert repr(mask) == "Mask(10 x 26 x 36; canary)"


def test_the_legend_tells_volumes_and_colours_apart():
    array = np.zeros((4, 10, 10), np.uint8)
    array[1, :5], array[2, :3], array[3, 0, 0] = 1, 2, 9
    mask = Mask(array, Grid(array.shape, np.diag([10.0, 10.0, 10.0, 1])), (label(1, "heart"), label(2, "lung"), label(3, "<b>")))
    colors = label_colors(mask)
    assert len({*colors.values()}) == len(colors) == 4, "three labels have the same colour, and one value has none"
    rows = re.findall(r"<tr><td>.*?</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", legend(mask))
    assert rows == [("heart", "50", "Heart (SCT 80891009)"), ("lung", "30", "Lung (SCT 39607008)"), ("label 9", "1", ""), ("&lt;b&gt;", "0", "Lung (SCT 39607008)")]


def test_a_long_legend_ends():
    array = np.arange(1, 61, dtype=np.uint8).reshape(1, 6, 10)
    text = legend(Mask(array, Grid(array.shape, np.eye(4))))
    assert text.count("label ") == 30
    assert "and 30 more" in text


def test_a_lesion_in_a_large_organ_is_in_the_picture():
    array = np.zeros((30, 40, 50), np.uint8)
    array[2:28, 5:35, 5:45], array[25, 9:11, 40] = 1, 2
    page = Mask(array, Grid(array.shape, np.eye(4)), (label(1, "lung"), label(2, "lesion")))._repr_html_()
    assert "axial, column 40<" in page
    assert "sagittal, slice 25<" in page, "planes are named by where they lie, slices by the array"


def test_segments_that_overlap_keep_their_whole_volumes():
    canary = make_canary()
    whole, part = canary.mask.array > 0, np.zeros(canary.mask.array.shape, bool)
    part[3] = whole[3]
    seg = write_seg({label(1, "all"): whole, label(2, "part"): part}, canary.volume, Provenance("a", "1", made_from=("x",), kind="MANUAL", when=WHEN, series_description="two", reader="phantom"))
    segments = read_segments(seg, canary.volume)
    page = segments._repr_html_()
    assert "Segments overlap" in page
    measured = re.findall(r"<td>(all|part)</td><td>(.*?)</td>", page)
    voxel = canary.volume.grid.voxel_ml
    assert measured == [("all", f"{whole.sum() * voxel:.3g}"), ("part", f"{part.sum() * voxel:.3g}")]
    np.testing.assert_array_equal(segments.on_top()[0].array, whole + part.astype(np.uint8))


def test_results_show_the_labels_on_the_image_and_reports_let_it_through():
    canary = make_canary()
    page = Results(canary.seg, canary.image[0], canary.mask, canary.volume, None, None)._repr_html_()
    assert page == as_html(canary.volume, canary.mask)
    shown = clean(page)
    assert pictures(page).keys() == pictures(shown).keys() == {"axial", "coronal", "sagittal"}
    assert shown.count("<img") == page.count("<img") == 4, "three planes and a colour"
    assert "<td>canary</td>" in shown
    assert not re.search(r"Phantom|CANARY|AILAB-", page)


def test_an_image_of_one_slice_has_one_plane():
    flat = Volume(np.arange(600, dtype=np.int16).reshape(1, 20, 30), Grid((1, 20, 30), np.eye(4)[[2, 1, 0, 3]]))
    assert {name: picture.shape for name, picture in planes(flat).items()} == {"axial": (187, 280)}


def test_what_does_not_fit_is_told():
    canary = make_canary()
    elsewhere = Mask(np.zeros((3, 4, 5), np.uint8), Grid((3, 4, 5), np.eye(4)))
    with pytest.raises(VolumeError, match=r"3 × 4 × 5 voxels\) do not lie on the volume's grid \(10 × 26 × 36\)"):
        as_html(canary.volume, elsewhere)
    with pytest.raises(VolumeError, match="4 axes: slices, rows and columns are expected"):
        as_html(Volume(np.zeros((2, 3, 4, 3), np.uint8), Grid((2, 3, 4), np.eye(4))))
    with pytest.raises(WrongUse, match="nothing to look at"):
        as_html(None)
