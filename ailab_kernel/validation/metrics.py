"""How well a mask agrees with the truth, label by label; what an empty mask means is a table, not an accident."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

from .distances import surface_distances
from .shape import boundary_iou, cl_dice, common_box

WORST_DISTANCE = "diagonal of the image"
# SNOMED CT codes of what is a tube, of which a centre line says something.
TUBES: Mapping[str, str] = {
    "59820001": "Blood vessel", "51114001": "Artery", "29092000": "Vein", "15825003": "Aorta",
    "113262008": "Thoracic aorta", "7832008": "Abdominal aorta", "45341000": "Pulmonary trunk",
    "81040000": "Pulmonary artery", "122972007": "Pulmonary vein", "41801008": "Coronary artery",
    "69105007": "Carotid artery", "85234005": "Vertebral artery", "2841007": "Renal artery",
    "10293006": "Iliac artery", "7657000": "Femoral artery", "32764006": "Portal vein",
    "64131007": "Inferior vena cava", "48345005": "Superior vena cava", "89187006": "Airway structure",
    "44567001": "Trachea", "955009": "Bronchus", "32849002": "Esophagus", "71854001": "Colon",
    "30315005": "Small intestine", "28273000": "Bile duct", "79741001": "Common bile duct",
    "69930009": "Pancreatic duct", "87953007": "Ureter", "2748008": "Spinal cord", "18234004": "Optic nerve",
}  # fmt: skip


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
        None where the formula has a value then.
    definition
        One line for a report; docs/metrics.md has the formulas.
    tubes_only
        Whether it is worked out for tubes alone.
    """

    title: str
    unit: str
    higher_is_better: bool | None
    both_empty: float | None = None
    one_empty: float | str | None = None
    definition: str = ""
    tubes_only: bool = False


METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", "", True, 1.0, 0.0, "twice the common voxels over the voxels of both"),
    "hd95": Metric("HD95", "mm", False, 0.0, WORST_DISTANCE,
                   "distance that 95 % of a surface's area stays within of the other; the larger of both directions"),
    "hd": Metric("Hausdorff distance", "mm", False, 0.0, WORST_DISTANCE, "largest distance from surface to surface"),
    "assd": Metric("Mean surface distance", "mm", False, 0.0, WORST_DISTANCE,
                   "distance from surface to surface, averaged over the area of both (ASSD)"),
    "nsd": Metric("Surface Dice", "", True, 1.0, 0.0,
                  "share of both surfaces' area within the tolerance of the other (NSD)"),
    "boundary_iou": Metric("Boundary IoU", "", True, 1.0, 0.0,
                           "common voxels over all voxels of both rims, which are as wide as the tolerance"),
    "cl_dice": Metric("clDice", "", True, 1.0, 0.0,
                      "harmonic mean of each centre line's share in the other mask", tubes_only=True),
    "sensitivity": Metric("Sensitivity", "", True, 1.0, 0.0, "share of the truth's voxels that were found"),
    "specificity": Metric("Specificity", "", True, None, None,
                          "share of the voxels outside the truth that were left out; 1 where there are none"),
    "volume_ml": Metric("Volume", "ml", None, None, None, "voxels of the prediction times their volume"),
    "truth_ml": Metric("Reference volume", "ml", None, None, None, "voxels of the truth times their volume"),
    "volume_error_ml": Metric("Volume error", "ml", None, None, None, "volume minus reference volume"),
}  # fmt: skip


class EmptyRules:
    """The table of metrics with what an empty mask counts, as a report shows it; `print` gives it as text."""

    _HEADS = ("metric", "what it is", "both empty", "one empty")

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Title with unit, definition, and the values when both masks are empty or one of them is."""
        return [(f"{metric.title}, {metric.unit}" if metric.unit else metric.title,
                 f"{metric.definition} (tubes only)" if metric.tubes_only else metric.definition,
                 _rule(metric.both_empty), _rule(metric.one_empty)) for metric in METRICS.values()]  # fmt: skip

    def __str__(self) -> str:
        rows = [self._HEADS, *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self._HEADS))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                         for row in rows)  # fmt: skip

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{cell}</th>" for cell in self._HEADS)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _rule(value: float | str | None) -> str:
    return "as it is" if value is None else value if isinstance(value, str) else f"{value:g}"


EMPTY_RULES = EmptyRules()


def is_tube(label: Label) -> bool:
    """Whether a label is a tube by its code, so that a centre line says something of it."""
    return label.code.scheme == "SCT" and label.code.value in TUBES


def score(mask: Mask, truth: Mask, *, tolerance_mm: float) -> dict[str, dict[str, float]]:
    """Return every metric of every label of the truth, by label name and metric name.

    Labels are paired by name: two sources may number the same anatomy differently. Surface metrics share one search for
    the nearest surface, in the box that both masks fill.

    Parameters
    ----------
    mask, truth
        Prediction and reference on one grid.
    tolerance_mm
        Of the surface Dice, and the width of the boundary IoU's rim; the readers' own disagreement is a good one.

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
    box = common_box(predicted, true) or (slice(0),) * predicted.ndim
    voxels, predicted, true = predicted.size, predicted[box], true[box]
    n_both, n_predicted, n_true = (int(np.count_nonzero(one)) for one in (predicted & true, predicted, true))
    ml = truth.grid.voxel_ml
    found = {
        "specificity": _share(voxels - n_predicted - n_true + n_both, voxels - n_true),
        "volume_ml": n_predicted * ml,
        "truth_ml": n_true * ml,
        "volume_error_ml": (n_predicted - n_true) * ml,
    }
    if not n_predicted or not n_true:
        return {**_empty(truth.grid, both_empty=n_predicted == n_true, tube=is_tube(label)), **found}
    spacing_mm = truth.grid.spacing_mm
    surfaces = surface_distances(predicted, true, spacing_mm)
    return {
        "dice": 2 * n_both / (n_predicted + n_true),
        "hd95": surfaces.hausdorff(95),
        "hd": surfaces.hausdorff(100),
        "assd": surfaces.mean(),
        "nsd": surfaces.surface_dice(tolerance_mm),
        "boundary_iou": boundary_iou(predicted, true, width_mm=tolerance_mm, spacing_mm=spacing_mm),
        **({"cl_dice": cl_dice(predicted, true)} if is_tube(label) else {}),
        "sensitivity": n_both / n_true,
        **found,
    }


def _empty(grid: Grid, *, both_empty: bool, tube: bool) -> dict[str, float]:
    rules = {name: metric.both_empty if both_empty else metric.one_empty
             for name, metric in METRICS.items() if tube or not metric.tubes_only}  # fmt: skip
    return {name: diagonal_mm(grid) if rule == WORST_DISTANCE else float(rule) for name, rule in rules.items()
            if rule is not None}  # fmt: skip


def worst(grid: Grid, truth_ml: float, *, tube: bool = False) -> dict[str, float]:
    """Return the values of a case that could not be predicted at all: nothing found where something is.

    Parameters
    ----------
    grid
        Of the image, for the worst distance.
    truth_ml
        Volume of the truth.
    tube
        Whether the label is one (`is_tube`).
    """
    shares = worst_shares(diagonal_mm(grid), tube=tube)
    return {**shares, "volume_ml": 0.0, "truth_ml": truth_ml, "volume_error_ml": -truth_ml}


def worst_shares(distance_mm: float, *, tube: bool = False) -> dict[str, float]:
    """Return the worst value of every metric that has one; ``distance_mm`` is that of a surface distance."""
    return {name: 0.0 if metric.higher_is_better else distance_mm for name, metric in METRICS.items()
            if metric.higher_is_better is not None and (tube or not metric.tubes_only)}  # fmt: skip


def diagonal_mm(grid: Grid) -> float:
    """Longest distance in the image, mm: the worst value of a surface distance."""
    return float(np.linalg.norm(np.multiply(grid.shape, grid.spacing_mm)))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two boolean arrays; 1 when both are empty."""
    total = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(one & other)) / total if total else 1.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
