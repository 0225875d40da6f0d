"""Crops depend on seed, epoch and step only, and image and label move together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.recipes import Augment, find
from ailab_kernel.training.augment import look
from ailab_kernel.training.loaders import Sample, batch, case_of, digest_of, read_cases, to_case
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask

from .samples import TINY, samples, study

STILL = Augment(turn_deg=0, scale=0, shift_mm=0, bend_mm=0, gain=0, offset=0, gamma=0, noise=0, blur=0)


@pytest.fixture(scope="module")
def cases():
    return read_cases(TINY, samples(0, 3), what="test cases")


def test_a_case_is_the_prepared_study(cases):
    assert cases[0].image.dtype == torch.float16
    assert cases[0].truth.sum() == study(0)[1].array.sum()
    assert digest_of(cases) == digest_of(read_cases(TINY, samples(0, 3), what="test cases")) != digest_of(cases[:2])


def test_same_step_same_bits_other_step_other_bits(cases):
    first = batch(TINY, cases, seed=5, epoch=1, step=2)
    again = batch(TINY, cases, seed=5, epoch=1, step=2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in ({"seed": 6, "epoch": 1, "step": 2}, {"seed": 5, "epoch": 0, "step": 2}, {"seed": 5, "epoch": 1, "step": 3}):
        assert not torch.equal(first[0], batch(TINY, cases, **other)[0])


def test_crop_has_the_networks_form(cases):
    images, truths = batch(replace(TINY, fine_tune=replace(TINY.fine_tune, batch=2)), cases, seed=1, epoch=0, step=0)
    assert images.shape == truths.shape == (2, 1, 16, 16, 16)
    assert images.dtype == torch.float32
    assert truths.dtype == torch.int64
    assert 0 <= images.min() <= images.max() <= 1


def test_without_changes_a_crop_is_a_piece_of_the_image():
    image = np.random.default_rng(0).random((20, 24, 28)).astype(np.float16)
    case = case_of("a", image, (image > 0.9).astype(np.uint8))
    recipe = replace(TINY, augment=STILL)
    seen, label = look(case.image, case.truth, centre=np.array([9.5, 11.5, 13.5]), recipe=recipe,
                       random=np.random.default_rng(0))  # fmt: skip
    np.testing.assert_allclose(seen[0], image[2:18, 4:20, 6:22], atol=2e-3)
    np.testing.assert_array_equal(label[0], image[2:18, 4:20, 6:22] > 0.9)


def test_beyond_the_image_is_air():
    case = case_of("a", np.ones((8, 8, 8), np.float32), np.ones((8, 8, 8), np.uint8))
    seen, label = look(case.image, case.truth, centre=np.array([3.5] * 3), recipe=replace(TINY, augment=STILL),
                       random=np.random.default_rng(0))  # fmt: skip
    assert seen[0, 4:12, 4:12, 4:12].min() > 0.999
    assert seen.sum() == pytest.approx(8**3)
    assert label.sum() == 8**3


@pytest.mark.parametrize("seed", range(6))
def test_image_and_label_move_together(seed):
    augment = replace(find("lungs").augment, gain=0, offset=0, gamma=0, noise=0, blur=0, coarse=0, window=0, crop=0.2)
    image = np.zeros((30, 30, 30), np.float32)
    image[8:20, 10:24, 6:22] = 1
    case = case_of("a", image, image.astype(np.uint8))
    seen, label = look(case.image, case.truth, centre=np.array([14.0] * 3), recipe=replace(TINY, augment=augment),
                       random=np.random.default_rng(seed))  # fmt: skip
    assert ((seen > 0.5) == (label > 0)).float().mean() > 0.97


def test_the_strongest_changes_keep_the_range():
    recipe = replace(TINY, augment=replace(find("lungs").augment, blur=1, coarse=1, window=1))
    cases = read_cases(recipe, samples(3, 1), what="test cases")
    for step in range(12):
        images, _ = batch(recipe, cases, seed=step, epoch=0, step=0)
        assert torch.isfinite(images).all()
        assert 0 <= images.min() <= images.max() <= 1


def test_truth_on_another_grid_is_refused():
    volume, truth = study(1)
    moved = Mask(truth.array, Grid(truth.grid.shape, truth.grid.affine + np.eye(4, k=3) * 9), truth.labels)
    with pytest.raises(TrainingError, match="case odd: the truth lies on another grid"):
        to_case(TINY, Sample("odd", lambda: (volume, moved)))
