"""The picture of a volume in a cell: each plane the right way round and in proportion, and nobody named."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.picture import as_html, window_of
from ailab_kernel.volumes.volume import Volume


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


def planes(vol: Volume) -> dict[str, np.ndarray]:
    found = re.findall(r'alt="(\w+),[^"]*"[^>]*src="data:image/png;base64,([^"]+)"', as_html(vol))
    return {name: np.asarray(Image.open(BytesIO(base64.b64decode(data)))) for name, data in found}


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
    axial = planes(volume())["axial"]
    assert axial.shape == (220, round(220 * 80 / 30))


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
