"""A whole image through fixed windows: padded when it fits, sliding when it does not."""

import numpy as np
import pytest

from ailab_kernel.inference.windows import logits

ROI = (8, 12, 10)


def identity(windows: np.ndarray) -> np.ndarray:
    assert windows.shape[2:] == ROI
    assert windows.dtype == np.float32
    return np.concatenate([windows, 1 - windows], axis=1)


@pytest.mark.parametrize("shape", [(8, 12, 10), (5, 12, 9), (1, 1, 1), (9, 12, 10), (20, 30, 25), (4, 40, 6)])
def test_every_voxel_is_answered_once(shape):
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    answer = logits(identity, image, roi=ROI)
    assert answer.shape == (2, *shape)
    np.testing.assert_allclose(answer[0], image, atol=1e-5)
    np.testing.assert_allclose(answer[1], 1 - image, atol=1e-5)


def test_an_image_that_fits_is_seen_at_once_with_air_around():
    seen = []
    logits(lambda windows: seen.append(windows) or identity(windows), np.ones((4, 12, 10), np.float32), roi=ROI)
    assert len(seen) == 1
    assert seen[0][0, 0, 2:6].min() == 1
    assert seen[0].sum() == 4 * 12 * 10
