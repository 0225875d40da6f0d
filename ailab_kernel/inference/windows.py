"""A whole image through windows of a fixed size."""

from collections.abc import Callable

import numpy as np

OVERLAP = 0.25


def logits(run: Callable[[np.ndarray], np.ndarray], image: np.ndarray, *, roi: tuple[int, int, int]) -> np.ndarray:
    """Return the network's answer for a whole image.

    An image that fits is padded with air on both sides and seen at once; a larger one by MONAI's sliding window.

    Parameters
    ----------
    run
        float32 windows (n, 1, *roi) to logits (n, channels, *roi).
    image
        float32, shape (slices, rows, columns), 0 is air.
    roi
        (slice, row, column) voxels of the window.

    Returns
    -------
    np.ndarray
        float32, shape (channels, slices, rows, columns).
    """
    missing = [size - n for size, n in zip(roi, image.shape, strict=True)]
    if min(missing) < 0:
        return _sliding(run, image, roi)
    before = [n // 2 for n in missing]
    padded = np.pad(image, [(b, n - b) for b, n in zip(before, missing, strict=True)])
    inner = tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    return run(padded[None, None])[0][(slice(None), *inner)]


def _sliding(run: Callable[[np.ndarray], np.ndarray], image: np.ndarray, roi: tuple[int, int, int]) -> np.ndarray:
    import torch
    from monai.inferers import sliding_window_inference

    def _predict(windows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(run(np.ascontiguousarray(windows.numpy())))

    whole = torch.from_numpy(image)[None, None]
    return sliding_window_inference(whole, roi, 1, _predict, overlap=OVERLAP, mode="gaussian")[0].numpy()
