"""A guided model answers on a window, in the volume's own voxels, and touches nothing else."""

import numpy as np
import pytest

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.inference.guided import GuidedPredictor, middle, moved, part
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import base_bundle, build_network, read_bundle, write_bundle
from ailab_kernel.recipes import find
from ailab_kernel.recipes.guidance import ROI, guided
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.resample import model_grid
from ailab_kernel.volumes.volume import Volume

HEART = guided(find("heart-wall"))
NETWORK = {**HEART.network, "channels": [4, 8], "strides": [2]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A network that has learnt nothing yet: its answer is noise, which is enough for places and labels."""
    import torch

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("guided")
    write_bundle(folder, name="heart-wall-clicks", recipe="heart-wall", network=NETWORK,
                 state_dict=build_network(NETWORK).state_dict(), metadata={})
    return read_bundle(folder)


def study(seed=1):
    """An anisotropic volume that is larger than the window, feet last and turned about one axis."""
    affine = np.eye(4)
    c, s = np.cos(0.1), np.sin(0.1)
    affine[:3, :3] = np.array([[0, -s * 2.5, c * 2.2], [0, c * 2.5, s * 2.2], [-5.0, 0, 0]])
    shape = (50, 100, 120)
    vol = Volume(np.random.default_rng(seed).integers(-200, 400, shape, dtype=np.int16), Grid(shape, affine))
    mask = np.zeros(shape, np.uint8)
    mask[20:30, 40:60, 50:75], mask[23:27, 45:55, 56:70] = 1, 2
    mask[:, 95:, 110:] = 1                                    # far away: no click speaks of it
    return vol, mask


def test_only_the_label_changes_and_only_in_the_window(bundle):
    vol, mask = study()
    before = mask.copy()
    refined = GuidedPredictor(bundle).refine(vol, mask, [((25.0, 50.0, 60.0), 1)], label=1)
    np.testing.assert_array_equal(mask, before)
    assert refined.dtype == np.uint8
    np.testing.assert_array_equal(refined == 2, mask == 2)
    assert (refined != mask).any()
    np.testing.assert_array_equal(refined[:, 95:, 110:], mask[:, 95:, 110:])
    again = GuidedPredictor(bundle).refine(vol, mask, [((25.0, 50.0, 60.0), 1)], label=1)
    np.testing.assert_array_equal(refined, again)


def test_a_click_keeps_its_place_in_the_body():
    vol, _ = study()
    window = part(model_grid(vol.grid, HEART.spacing_mm), np.array([30.0, 40.0, 50.0]), ROI)
    ((place, label),) = moved([((12.0, 70.5, 33.0), 2)], vol.grid, window)
    assert label == 2
    np.testing.assert_allclose(window.affine @ [*place, 1], vol.grid.affine @ [12.0, 70.5, 33.0, 1])


def test_the_window_shows_the_mask_and_the_newest_click():
    mask = np.zeros((80, 90, 100), np.uint8)
    mask[30:41, 40:51, 50:61] = 1
    np.testing.assert_array_equal(middle(mask, [((35, 45, 55), 1)]), [35, 45, 55])
    far = middle(mask, [((35, 45, 95), 0)])
    np.testing.assert_array_equal(far[:2], [35, 45])
    assert far[2] + ROI[2] / 2 > 95
    np.testing.assert_array_equal(middle(0 * mask, [((1, 2, 3), 1)]), [1, 2, 3])


def test_a_model_that_proposes_takes_no_clicks_and_the_other_way_round(bundle):
    with pytest.raises(ModelError, match="it can only propose"):
        GuidedPredictor(base_bundle("heart-wall"))
    with pytest.raises(ModelError, match="refines masks by clicks"):
        Predictor(bundle)
