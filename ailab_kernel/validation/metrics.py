"""How well a mask agrees with the truth, label by label; what an empty mask means is a table, not an accident."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

from .distances import surface_distances

WORST_DISTANCE = "diagonal of the image"


@dataclass(frozen=True)
class Metric:
    """What a figure is.

    Attributes
    ----------
    title, unit
        For tables; the unit may be empty.
    higher_is_better
        None where neither end is better (volumes).
    both_empty, one_empty
        Value when prediction and truth are empty, or only one of them. `WORST_DISTANCE`: the image's diagonal in mm.
    """

    title: str
    unit: str
    higher_is_better: bool | None
    both_empty: float | None = None
    one_empty: float | str | None = None


METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", "", True, 1.0, 0.0),
    "hd95": Metric("HD95", "mm", False, 0.0, WORST_DISTANCE),
    "nsd": Metric("Surface Dice", "", True, 1.0, 0.0),
    "sensitivity": Metric("Sensitivity", "", True, 1.0, 0.0),
    "specificity": Metric("Specificity", "", True),
    "volume_ml": Metric("Volume", "ml", None),
    "truth_ml": Metric("Reference volume", "ml", None),
    "volume_error_ml": Metric("Volume error", "ml", None),
}


def score(mask: Mask, truth: Mask, *, tolerance_mm: float) -> dict[str, dict[str, float]]:
    """Return every metric of every label of the truth, by label name and metric name.

    Labels are paired by name: two sources may number the same anatomy differently.

    Raises
    ------
    DatasetError
        The masks lie on different grids, or the prediction knows none of the truth's labels.
    """
    if not mask.grid.matches(truth.grid):
        shapes = f"prediction {mask.grid.shape} and truth {truth.grid.shape}"
        msg = f"{shapes} lie on different grids; resample one to the other"
        raise DatasetError(msg)
    mask = renumbered(mask, truth.labels)
    return {label.name: _label(mask, truth, label, tolerance_mm) for label in truth.labels}


def renumbered(mask: Mask, labels: Sequence[Label]) -> Mask:
    """Return the mask in the numbering of ``labels``, paired by name; the others become background.

    A mask that says nothing about its labels is taken as it is. A label that it does not know is one it did not find.

    Raises
    ------
    DatasetError
        The mask knows none of ``labels``.
    """
    own = {label.name: label.index for label in mask.labels}
    if not own or own == {label.name: label.index for label in labels}:
        return mask
    known = [label for label in labels if label.name in own]
    if labels and not known:
        wanted = ", ".join(label.name for label in labels)
        msg = f"prediction knows {', '.join(own)}, the truth {wanted}: choose a model of those labels"
        raise DatasetError(msg)
    number = np.zeros(256, np.uint8)
    for label in known:
        number[own[label.name]] = label.index
    return Mask(number[mask.array], mask.grid, tuple(labels))


def _label(mask: Mask, truth: Mask, label: Label, tolerance_mm: float) -> dict[str, float]:
    predicted, true = mask.where(label), truth.where(label)
    both = int((predicted & true).sum())
    n_predicted, n_true, voxels = int(predicted.sum()), int(true.sum()), predicted.size
    ml = truth.grid.voxel_ml
    found = {
        "specificity": _share(voxels - n_predicted - n_true + both, voxels - n_true),
        "volume_ml": n_predicted * ml,
        "truth_ml": n_true * ml,
        "volume_error_ml": (n_predicted - n_true) * ml,
    }
    if not n_predicted or not n_true:
        return {**_empty(truth.grid, both_empty=n_predicted == n_true), **found}
    surfaces = surface_distances(predicted, true, truth.grid.spacing_mm)
    return {
        "dice": 2 * both / (n_predicted + n_true),
        "hd95": surfaces.hausdorff(95),
        "nsd": surfaces.surface_dice(tolerance_mm),
        "sensitivity": both / n_true,
        **found,
    }


def _empty(grid: Grid, *, both_empty: bool) -> dict[str, float]:
    rules = {name: metric.both_empty if both_empty else metric.one_empty for name, metric in METRICS.items()}
    return {name: diagonal_mm(grid) if rule == WORST_DISTANCE else float(rule) for name, rule in rules.items()
            if rule is not None}  # fmt: skip


def worst(grid: Grid, truth_ml: float) -> dict[str, float]:
    """Return the values of a case that could not be predicted at all: nothing found where something is."""
    return {**worst_shares(diagonal_mm(grid)), "volume_ml": 0.0, "truth_ml": truth_ml, "volume_error_ml": -truth_ml}


def worst_shares(distance_mm: float) -> dict[str, float]:
    """Return the worst value of every metric that has one; ``distance_mm`` is that of a surface distance."""
    return {name: 0.0 if metric.higher_is_better else distance_mm
            for name, metric in METRICS.items() if metric.higher_is_better is not None}  # fmt: skip


def diagonal_mm(grid: Grid) -> float:
    """Longest distance in the image, mm: the worst value of a surface distance."""
    return float(np.linalg.norm(np.multiply(grid.shape, grid.spacing_mm)))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two boolean arrays; 1 when both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


