"""What the network sees, and how a truth becomes the recipe's labels."""

from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.dicom.codes import LESION, LUNG
from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.recipes import RECIPES, bundle_metadata, find, prepare, truth_on_grid
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.resample import model_grid
from ailab_kernel.volumes.volume import Volume

LUNGS = find("lungs")


def volume(hu: np.ndarray, spacing=(5.0, 2.0, 2.0)) -> Volume:
    return Volume((hu + 1024).astype(np.int16), Grid(hu.shape, np.diag([*spacing, 1.0])[[2, 1, 0, 3]]), 1.0, -1024.0)


def test_unknown_recipe_names_the_known():
    with pytest.raises(NotFound, match="heart-wall, lung-lesions, lungs"):
        find("liver")


@pytest.mark.parametrize("name", RECIPES)
def test_labels_are_channels(name):
    recipe = find(name)
    assert [label.index for label in recipe.labels] == list(range(1, recipe.channels))
    assert recipe.network["out_channels"] == recipe.channels
    assert set(recipe.keep) <= {label.name for label in recipe.labels}


@pytest.mark.parametrize("name", RECIPES)
def test_metadata_names_every_channel(name):
    recipe = find(name)
    data = bundle_metadata(recipe)["network_data_format"]
    channels = data["outputs"]["pred"]["channel_def"]
    assert list(channels.values()) == ["background", *(label.name for label in recipe.labels)]
    assert data["inputs"]["image"]["spatial_shape"] == list(recipe.roi)


def test_digest_tells_recipes_apart():
    assert find("lungs").digest == LUNGS.digest != find("heart-wall").digest
    assert replace(LUNGS, window_hu=(-1000.0, 200.0)).digest != LUNGS.digest


def test_prepare_scales_the_window_and_cuts_padding_off():
    hu = np.full((8, 40, 40), -350.0)
    hu[:, :10], hu[:, 10:20] = -3024.0, 2000.0
    image, grid = prepare(LUNGS, volume(hu))
    assert image.dtype == np.float32
    assert image.shape == grid.shape == (10, 20, 20)
    assert image.min() == 0.0
    assert image.max() == 1.0
    np.testing.assert_allclose(image[:, 12:], 0.5, atol=1e-6)
    # Padding of -3024 HU beside bone of 2000: cut off first, both weigh the same at their boundary.
    np.testing.assert_allclose(image[:, 4], 1 - image[:, 5], atol=1e-6)


def test_prepare_keeps_world_places():
    hu = np.full((20, 64, 64), -1000.0)
    hu[5:9, 10:20, 40:56] = 300.0
    vol = volume(hu)
    image, grid = prepare(LUNGS, vol)
    there = np.argwhere(image > 0.5).mean(0)
    here = np.argwhere(hu > 0).mean(0)
    np.testing.assert_allclose((grid.affine @ [*there, 1])[:3], (vol.grid.affine @ [*here, 1])[:3], atol=1.5)


def truth(array: np.ndarray) -> Mask:
    grid = Grid(array.shape, np.diag([2.0, 2.0, 5.0, 1.0])[[2, 1, 0, 3]][:, [2, 1, 0, 3]])
    return Mask(array.astype(np.uint8), grid, (Label(7, "lung", LUNG), Label(9, "lesion", LESION)))


def test_truth_follows_names_not_values_and_keeps_its_volume():
    array = np.zeros((12, 60, 60))
    array[3:9, 10:40, 12:44], array[5, 20:24, 20:24] = 7, 9
    mask = truth(array)
    grid = model_grid(mask.grid, LUNGS.spacing_mm)
    labels = truth_on_grid(LUNGS, mask, grid)
    assert set(np.unique(labels)) == {0, 1}
    assert abs(labels.sum() * grid.voxel_ml / ((array > 0).sum() * mask.grid.voxel_ml) - 1) < 0.1


def test_truth_without_the_recipes_labels_is_refused():
    mask = truth(np.zeros((4, 8, 8)))
    with pytest.raises(WrongUse, match="the truth has lung, lesion; recipe heart-wall learns heart-wall, heart-cavity"):
        truth_on_grid(find("heart-wall"), mask, mask.grid)
