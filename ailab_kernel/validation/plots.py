"""Figures of a validation, as pictures that every notebook and page can show."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .metrics import METRICS
from .study import CaseScores, goodness

if TYPE_CHECKING:
    from IPython.display import Image
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .calibration import Calibration
    from .detection import Froc

# Okabe-Ito: told apart by colour-blind readers.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b7580"
LABEL_COLORS = (ORANGE, BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
# Axis of LPS space that the slices follow: what runs to the right of the picture, and down, as (axis, sign).
DISPLAY = {2: ((0, 1), (1, 1)), 1: ((0, 1), (2, -1)), 0: ((1, 1), (2, -1))}  # axial, coronal, sagittal
SOFT_TISSUE, LUNG = (-160.0, 240.0), (-1350.0, 150.0)
_DPI = 110
_SIZE = {False: 4, True: 7}


def paired(
    base: Sequence[CaseScores], tuned: Sequence[CaseScores], *, metric: str, names: tuple[str, str]
) -> "Image":
    """One line a case from the base's value to the tuned model's; orange lines got worse, a cross is a failed case."""
    labels = _labels(tuned)
    figure, axes = _figure(len(labels), width=3.6, height=3.8)
    for axis, label in zip(axes, labels, strict=True):
        before, after = (_values(rows, label, metric) for rows in (base, tuned))
        failed = [_failed(rows, label) for rows in (base, tuned)]
        for case in after:
            better = goodness(after[case], metric) >= goodness(before[case], metric)
            color, ends = BLUE if better else ORANGE, (before[case], after[case])
            axis.plot([0, 1], ends, color=color, lw=1, alpha=0.7)
            for place, value in enumerate(ends):
                axis.plot(place, value, _mark(case in failed[place]), color=color, ms=_SIZE[case in failed[place]])
        axis.set_xticks([0, 1], names)
        axis.set_xlim(-0.25, 1.25)
        _dress(axis, title=label, ylabel=_title(metric))
    return _picture(figure)


def strip(rows: Sequence[CaseScores], *, metric: str) -> "Image":
    """One dot a case, by label, with the median; a cross is a failed case, which counts as the worst value."""
    labels = _labels(rows)
    figure, (axis,) = _figure(1, width=1.6 + 1.9 * len(labels), height=3.4)
    for place, label in enumerate(labels):
        found, failed = _values(rows, label, metric), _failed(rows, label)
        values = np.array(list(found.values()))
        spread = np.random.default_rng(0).uniform(-0.16, 0.16, len(values))
        for across, (case, value) in zip(place + spread, found.items(), strict=True):
            axis.plot(across, value, _mark(case in failed), color=BLUE, ms=_SIZE[case in failed] + 1, alpha=0.6)
        axis.hlines(np.median(values), place - 0.28, place + 0.28, color=ORANGE, lw=2)
    axis.set_xticks(range(len(labels)), labels)
    axis.set_xlim(-0.6, len(labels) - 0.4)
    _dress(axis, title=f"{_title(metric)}: one dot a case, line at the median", ylabel=_title(metric))
    return _picture(figure)


def bland_altman(rows: Sequence[CaseScores], *, names: tuple[str, str] = ("prediction", "reference")) -> "Image":
    """Volume error against mean volume, with mean error and limits of agreement (mean ± 1.96 SD).

    A failed case measured no volume: it is left out and counted in the title. ``names`` are those of the two sides.
    """
    labels = _labels(rows)
    figure, axes = _figure(len(labels), width=4.4, height=3.4)
    for axis, label in zip(axes, labels, strict=True):
        failed = _failed(rows, label)
        measured = [row for row in rows if row.case not in failed]
        predicted, true = (np.array(list(_values(measured, label, name).values()))
                           for name in ("volume_ml", "truth_ml"))  # fmt: skip
        _agreement(axis, predicted - true, (predicted + true) / 2)
        axis.set_xlabel(f"mean of {names[0]} and {names[1]}, ml")
        title = f"{label} ({len(failed)} failed, not shown)" if failed else label
        _dress(axis, title=title, ylabel=f"{names[0]} minus {names[1]}, ml")
    return _picture(figure)


def _agreement(axis: "Axes", error: np.ndarray, size: np.ndarray) -> None:
    axis.plot(size, error, "o", color=BLUE, ms=5, alpha=0.7)
    if len(error):
        axis.axhline(error.mean(), color=ORANGE, lw=1.5)
    if len(error) > 1:
        for side in (-1.96, 1.96):
            axis.axhline(error.mean() + side * error.std(ddof=1), color=GREY, lw=1, ls="--")


def froc(curves: Mapping[str, "Froc"]) -> "Image":
    """Sensitivity against false positives per scan, one step line a model; dots at the rates that the table reads off.

    Parameters
    ----------
    curves
        By the model's name; see `detection.froc`.
    """
    figure, (axis,) = _figure(1, width=5.2, height=3.8)
    for (name, one), color in zip(curves.items(), cycle(LABEL_COLORS[1::-1]), strict=False):
        axis.plot([0.0, *one.false_positives_per_scan], [0.0, *one.sensitivity], drawstyle="steps-post", color=color,
                  lw=1.6, label=f"{name}: mean {one.mean:.3f}")  # fmt: skip
        axis.plot(one.rates, one.at_rates, "o", color=color, ms=4)
        ends = [one.false_positives_per_scan[-1], 2 * max(one.rates)] if one.thresholds else [0, 2 * max(one.rates)]
        axis.plot(ends, [max(one.sensitivity, default=0.0)] * 2, color=color, lw=1, ls=":")  # no threshold is lower
    first = next(iter(curves.values()))
    axis.set_xscale("symlog", base=2, linthresh=min(first.rates))
    axis.set_xticks([0, *first.rates], ["0", *(f"{rate:g}" for rate in first.rates)], fontsize=8)
    axis.set_xlim(0, 2 * max(first.rates))
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel("false positives per scan")
    axis.legend(loc="lower right", fontsize=8, frameon=False)
    told = f"FROC: {first.lesions} lesions in {first.scans} scans"
    _dress(axis, title=told, ylabel="share of the lesions found")
    return _picture(figure)


def reliability(curves: Mapping[str, "Calibration"]) -> "Image":
    """Share of cases that have the finding against the probability that was given, one panel a model.

    Points on the dashed line mean what they say; bars are Wilson's 95 % intervals, and numbers the cases of each point.

    Parameters
    ----------
    curves
        By the model's name; see `calibration.calibration`.
    """
    figure, axes = _figure(len(curves), width=4.4, height=4.0)
    for axis, (name, one) in zip(axes, curves.items(), strict=True):
        axis.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        for point in one.bins:
            axis.plot([point.predicted] * 2, [point.low, point.high], color=BLUE, lw=1.5, alpha=0.6)
            axis.plot(point.predicted, point.observed, "o", color=BLUE, ms=6)
            axis.annotate(str(point.n), (point.predicted, point.observed), xytext=(6, -9), textcoords="offset points",
                          fontsize=7, color=GREY)  # fmt: skip
        axis.set_xlim(-0.03, 1.03)
        axis.set_ylim(-0.07, 1.03)
        axis.set_xlabel("probability that the model gave")
        title = f"{name}\n{one.n} cases, Brier {one.brier:.3f}, calibration error {one.ece:.3f}"
        _dress(axis, title=title, ylabel="share that has the finding")
    return _picture(figure)


def overlays(items: Sequence[tuple[Volume, Mask, Mask | None]], *, titles: Sequence[str]) -> "Image":
    """Pictures in the plane of the slices: prediction filled, reference outlined, on the slice where they differ most.

    Parameters
    ----------
    items
        Volume, prediction and reference (None: the slice with most of the prediction is shown).
    titles
        One for each.
    """
    columns = min(3, len(items))               # more would be too small to read on paper
    figure, axes = _figure(columns, width=3.3, height=3.5, rows=-(-len(items) // columns))
    for axis in axes[len(items):]:
        axis.set_axis_off()
    for axis, item, title in zip(axes, items, titles, strict=False):
        _draw(axis, *item, title)
    return _picture(figure)


def _draw(axis: "Axes", vol: Volume, mask: Mask, truth: Mask | None, title: str) -> None:
    from matplotlib.colors import to_rgba

    number = _slice(mask, truth)
    flip, aspect = _to_radiological(vol)
    low, high = LUNG if any("lung" in label.name for label in mask.labels) else SOFT_TISSUE
    grey = vol.array[number].astype(np.float32) * _at(vol.slope, number) + _at(vol.intercept, number)
    axis.imshow(flip(grey), cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")
    for label, color in zip(mask.labels, cycle(LABEL_COLORS), strict=False):
        filled = np.zeros((*flip(grey).shape, 4))
        filled[flip(mask.array[number] == label.index)] = to_rgba(color, 0.45)
        axis.imshow(filled, aspect=aspect, interpolation="nearest")
        outlined = flip(truth.array[number] == label.index) if truth else None
        if outlined is not None and outlined.any() and not outlined.all():
            axis.contour(outlined, levels=[0.5], colors="white", linewidths=1)
    axis.set_title(f"{title}\nslice {number + 1} of {len(vol.array)}", fontsize=9)
    axis.set_axis_off()


def _slice(mask: Mask, truth: Mask | None) -> int:
    marked = mask.array != truth.array if truth else mask.array > 0
    if not marked.any():
        marked = mask.array > 0
    counts = marked.reshape(len(marked), -1).sum(1)
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def _at(value: Any, number: int) -> float:
    return float(np.asarray(value).reshape(-1)[number if np.ndim(value) else 0])


def _to_radiological(vol: Volume) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """How to turn a slice as radiologists hang it, and its pixels' aspect.

    Axial: the patient's right on the left, anterior up. Coronal: right on the left, head up. Sagittal: anterior on
    the left, head up.
    """
    axes = vol.affine_lps[:3, :3]
    through, *_ = nearest = max(permutations(range(3)), key=lambda order: sum(abs(axes[order, range(3)])))
    (right, right_sign), (below, below_sign) = DISPLAY[through]
    across, down = nearest.index(right), nearest.index(below)
    swap = across == 1
    step_across = int(np.copysign(1, right_sign * axes[right, across]))
    step_down = int(np.copysign(1, below_sign * axes[below, down]))
    aspect = float(np.linalg.norm(axes[:, down]) / np.linalg.norm(axes[:, across]))
    return lambda image: (image.T if swap else image)[::step_down, ::step_across], aspect


def _labels(rows: Sequence[CaseScores]) -> list[str]:
    return list(dict.fromkeys(row.label for row in rows))


def _values(rows: Sequence[CaseScores], label: str, metric: str) -> Mapping[str, float]:
    return {row.case: row.values[metric] for row in rows if row.label == label and metric in row.values}


def _failed(rows: Sequence[CaseScores], label: str) -> set[str]:
    return {row.case for row in rows if row.label == label and row.failed}


def _mark(failed: bool) -> str:
    return "x" if failed else "o"


def _title(metric: str) -> str:
    kind = METRICS[metric]
    return f"{kind.title}, {kind.unit}" if kind.unit else kind.title


def _figure(columns: int, *, width: float, height: float, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns, squeeze=False)))


def _dress(axis: "Axes", *, title: str, ylabel: str) -> None:
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_ylabel(ylabel)
    axis.grid(axis="y", color="#d9dfe6", lw=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _picture(figure: "Figure") -> "Image":
    from IPython.display import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return Image(data=buffer.getvalue(), format="png")
