"""Our metrics beside MONAI's on the same masks, in one run: ``python -m benchmarks.metrics``.

Both count Dice, HD95 and surface Dice (3 mm) of every label. The ratio is MONAI's time over ours; nothing is asserted.
"""

import time
import warnings
from collections.abc import Callable

import numpy as np

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE
from ailab_kernel.validation.metrics import score
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

SPACING = (2.5, 0.75, 0.75)
LABELS = (Label(1, "left", ANATOMICAL_STRUCTURE), Label(2, "right", ANATOMICAL_STRUCTURE))
TOLERANCE_MM = 3.0
ROUNDS = 3
Figures = dict[str, list[float]]
CASES = {"two labels": ((100, 512, 512), 2, 80.0), "small lesion": ((100, 512, 512), 1, 6.0)}


def ball(shape: tuple[int, int, int], center: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((a - c * n) * mm) ** 2 for a, c, n, mm in zip(axes, center, shape, SPACING, strict=True)) < radius_mm**2


def masks(shape: tuple[int, int, int], labels: int, radius_mm: float) -> tuple[Mask, Mask]:
    """A prediction and a truth: balls, the prediction's moved by 2 % of the image and a little smaller."""
    found = []
    for shift, scale in ((0.02, 0.95), (0.0, 1.0)):
        array = np.zeros(shape, np.uint8)
        for number in range(labels):
            center = (0.45 + shift, 0.5 + shift / 2, 0.3 + 0.4 * number)
            array[ball(shape, center, radius_mm * scale * (1 - 0.2 * number))] = number + 1
        found.append(Mask(array, Grid(shape, np.diag([*SPACING, 1.0])), LABELS[:labels]))
    return found[0], found[1]


def theirs(one: Mask, other: Mask) -> Figures:
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    hot = [torch.from_numpy(np.stack([m.where(label) for label in m.labels])[None]).float() for m in (one, other)]
    told = {"include_background": True, "spacing": list(SPACING)}
    return {
        "dice": compute_dice(*hot, include_background=True)[0].tolist(),
        "hd95": compute_hausdorff_distance(*hot, percentile=95, **told)[0].tolist(),
        "nsd": compute_surface_dice(*hot, [TOLERANCE_MM] * len(one.labels), **told)[0].tolist(),
    }


def ours(one: Mask, other: Mask) -> Figures:
    scores = score(one, other, tolerance_mm=TOLERANCE_MM)
    return {name: [scores[label.name][name] for label in one.labels] for name in ("dice", "hd95", "nsd")}


def timed(func: Callable[[Mask, Mask], Figures], pair: tuple[Mask, Mask]) -> tuple[float, Figures]:
    """Best of some rounds, s, and the figures."""
    best, found = float("inf"), {}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = func(*pair)
        best = min(best, time.perf_counter() - started)
    return best, found


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)
    theirs(*masks((8, 32, 32), 2, 6.0))
    for title, (shape, labels, radius) in CASES.items():
        pair = masks(shape, labels, radius)
        (mine, a), (monai, b) = timed(ours, pair), timed(theirs, pair)
        apart = max(abs(x - y) for name in a for x, y in zip(a[name], b[name], strict=True))
        print(f"{title:13} {'x'.join(map(str, shape))}: ours {mine:.3f} s, MONAI {monai:.3f} s, "
              f"ratio {monai / mine:.1f}, largest difference {apart:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
