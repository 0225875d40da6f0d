"""How well readers agree: pair by pair, label by label, with intervals that take the patient as the unit."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.validation import study
from ailab_kernel.validation.distances import surface_distances
from ailab_kernel.validation.metrics import diagonal_mm, dice
from ailab_kernel.validation.statistics import Interval, mean_interval
from ailab_kernel.volumes.masks import Label, Mask

if TYPE_CHECKING:
    from .task import Task

# What is measured: a title, and the places that a table shows.
MEASURES: Mapping[str, tuple[str, int]] = {
    "dice": ("Dice", 3), "kappa": ("Cohen's kappa", 3), "surface_mm": ("Mean surface distance, mm", 2),
    "hd95": ("HD95, mm", 2), "volume_error_ml": ("Volume difference, ml", 2),
}  # fmt: skip
_Z = 1.96


@dataclass(frozen=True)
class Limits:
    """Mean of differences with limits of agreement, mean ± 1.96 SD (Bland and Altman, Lancet 1986).

    Attributes
    ----------
    mean, low, high
        In the unit of the differences; with fewer than two of them the limits are not known (nan).
    n
        How many differences.
    """

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Agreement:
    """What a pair of readers has in common in one label.

    Attributes
    ----------
    pair
        Which readers, by number from 1: ``2 and 1`` is 2 minus 1 where there is a difference.
    label
        Its name.
    intervals
        Mean over cases with its 95 % interval, by a key of `MEASURES`.
    limits
        Limits of agreement of the volume difference, ml.
    """

    pair: str
    label: str
    intervals: Mapping[str, Interval]
    limits: Limits


def kappa(one: np.ndarray, other: np.ndarray) -> float:
    """Return Cohen's kappa of two boolean arrays over the voxels of the box that holds both.

    Outside the box both say no, as often as the scan is wide: counted with, every pair of readers would agree. 1 where
    chance alone makes them agree fully: both are empty, or both fill the box.

    Parameters
    ----------
    one, other
        Boolean, shape (slices, rows, columns).
    """
    boxes = ndimage.find_objects((one | other).astype(np.uint8))
    if not boxes:
        return 1.0
    one, other = one[boxes[0]], other[boxes[0]]
    observed, first, second = float((one == other).mean()), float(one.mean()), float(other.mean())
    chance = first * second + (1 - first) * (1 - second)
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def agree(one: Mask, other: Mask, label: Label) -> dict[str, float]:
    """Return every measure of one label of two readings, and both volumes (``truth_ml`` is that of ``one``).

    A surface distance is 0 where both are empty and the image's diagonal where one of them is.

    Raises
    ------
    DatasetError
        The readings lie on different grids.
    """
    if not one.grid.matches(other.grid):
        msg = f"readings of {one.grid.shape} and {other.grid.shape} voxels lie on different grids; read the same series"
        raise DatasetError(msg)
    first, second, ml = one.where(label), other.where(label), one.grid.voxel_ml
    n_first, n_second = int(first.sum()), int(second.sum())
    if n_first and n_second:
        surfaces = surface_distances(second, first, one.grid.spacing_mm)
        distances = surfaces.mean(), surfaces.hausdorff(95)
    else:
        distances = (diagonal_mm(one.grid) if n_first or n_second else 0.0,) * 2
    return {"dice": dice(first, second), "kappa": kappa(first, second), "surface_mm": distances[0],
            "hd95": distances[1], "truth_ml": n_first * ml, "volume_ml": n_second * ml,
            "volume_error_ml": (n_second - n_first) * ml}  # fmt: skip


def compare_case(task: "Task", series_uid: str) -> dict[str, Any]:
    """Compare the blind readings of one case, and each with what was accepted.

    Returns
    -------
    dict
        JSON values: ``pairs`` by pair (``2 and 1``) and label, ``accepted`` Dice by reader and label (empty before),
        ``seconds`` by reader.
    """
    readings, steps = list(task.readings(series_uid).values()), task.reading_steps(series_uid).values()
    if not readings:
        msg = f"series {series_uid} has not been handed in by every reader of task {task.ref}; compare it afterwards"
        raise DatasetError(msg)
    labels = task.recipe.labels
    final = task.mask(series_uid) if task.state(series_uid) == "accepted" else None
    return {
        "series": series_uid,
        "pairs": {f"{b + 1} and {a + 1}": {label.name: agree(readings[a], readings[b], label) for label in labels}
                  for a, b in combinations(range(len(readings)), 2)},
        "accepted": {str(number): {label.name: dice(mask.where(label), final.where(label)) for label in labels}
                     for number, mask in enumerate(readings, 1)} if final else {},
        "seconds": {str(number): step.seconds for number, step in enumerate(steps, 1)},
    }  # fmt: skip


def rows_of(compared: Sequence[Mapping[str, Any]], task: "Task", pair: str) -> tuple[study.CaseScores, ...]:
    """Return the figures of one pair, one row a case and label; ``compared`` is what `compare_case` gave."""
    of = {uid: (f"case {number}", task.image(uid).patient) for number, uid in enumerate(task.series_uids, 1)
          if uid in {one["series"] for one in compared}}  # fmt: skip
    return tuple(study.CaseScores(*of[one["series"]], label.name, one["pairs"][pair][label.name])
                 for one in compared for label in task.recipe.labels)  # fmt: skip


def limits_of(differences: Sequence[float]) -> Limits:
    """Return mean and limits of agreement of differences."""
    mean = float(np.mean(differences))
    half = _Z * float(np.std(differences, ddof=1)) if len(differences) > 1 else math.nan
    return Limits(mean, mean - half, mean + half, len(differences))


def summarize(rows: Sequence[study.CaseScores], pair: str, *, seed: int) -> tuple[Agreement, ...]:
    """Return a pair's agreement, label by label; intervals are drawn by patient (`validation.statistics`)."""
    return tuple(_summary([row for row in rows if row.label == label], pair, seed=seed)
                 for label in dict.fromkeys(row.label for row in rows))  # fmt: skip


def _summary(rows: Sequence[study.CaseScores], pair: str, *, seed: int) -> Agreement:
    patients = [row.patient for row in rows]
    values = {name: [row.values[name] for row in rows] for name in MEASURES}
    found = {name: mean_interval(one, patients, seed=seed) for name, one in values.items()}
    return Agreement(pair, rows[0].label, found, limits_of(values["volume_error_ml"]))


def as_table(found: Sequence[Agreement]) -> str:
    """Return HTML: one row a pair, label and measure."""
    heads = ("readers", "label", "measure", "mean", "95 % interval", "limits of agreement", "cases", "patients")
    rows = [_cells(one, name) for one in found for name in one.intervals]
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    few = min((one.patients for each in found for one in each.intervals.values() if one.few), default=0)
    note = f'<p class="note">Only {few} patients: the interval cannot be relied on.</p>' if few else ""
    head = "".join(f"<th>{one}</th>" for one in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def as_json(one: Agreement) -> dict[str, Any]:
    """Return a summary's figures as plain JSON, to six places; what is not known is null."""
    limits = {key: None if math.isnan(value) else value for key, value in asdict(one.limits).items()}
    return study.as_json({**one.intervals, "limits_ml": limits})


def _cells(one: Agreement, name: str) -> tuple[Any, ...]:
    found, (title, places) = one.intervals[name], MEASURES[name]
    ends = f"{found.low:.{places}f} to {found.high:.{places}f}"
    known = name == "volume_error_ml" and one.limits.n > 1
    limits = f"{one.limits.low:.{places}f} to {one.limits.high:.{places}f}" if known else ""
    return one.pair, one.label, title, f"{found.mean:.{places}f}", ends, limits, found.n, found.patients
