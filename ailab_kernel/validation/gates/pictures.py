"""The gate and the subgroups as pictures: how far from the limit, and how sure."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ailab_kernel.validation.metrics import METRICS
from ailab_kernel.validation.plots import BLUE, GREEN, GREY, ORANGE
from ailab_kernel.validation.subgroups import ATTRIBUTES, Group, Subgroups

from .judging import FAIL, PASS, Gate, Verdict
from .whole import MEASURES

if TYPE_CHECKING:
    from IPython.display import Image
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {PASS: GREEN, FAIL: ORANGE}
_FARTHEST = 2.0                                # a bar longer than twice the largest distance ends in an arrow
_DPI, _ROW, _WIDTH = 110, 0.34, 7.6


def margins(gate: Gate) -> "Image | None":
    """One line a criterion: from the figure (dot) to the end of its interval (bar), as distance from what was asked.

    What lies right of the line passed. Criteria in mm have a picture of their own; counts are not drawn, and without
    anything to draw there is no picture.
    """
    drawn = [one for one in gate.verdicts if one.bound is not None and one.figure is not None and one.number]
    kinds = [[one for one in drawn if bool(_unit(one)) == in_mm] for in_mm in (False, True)]
    kinds = [kind for kind in kinds if kind]
    if not kinds:
        return None
    figure, axes = _figure([len(kind) for kind in kinds])
    for axis, kind in zip(axes, kinds, strict=True):
        far = max(abs(_beyond(one, one.figure)) for one in kind)
        for place, one in enumerate(reversed(kind)):
            color, dot, end = _COLORS[one.verdict], _beyond(one, one.figure), _beyond(one, one.bound)
            cut = max(end, dot - _FARTHEST * far)
            axis.plot([dot, cut], [place, place], color=color, lw=2, solid_capstyle="butt")
            axis.plot(cut, place, "|" if cut == end else "<", color=color, ms=11 if cut == end else 7, mew=2)
            axis.plot(dot, place, "o", color=color, ms=6)
        axis.axvline(0, color="black", lw=1)
        unit = f", {_unit(kind[0])}" if _unit(kind[0]) else ""
        axis.set_xlabel(f"distance from what was asked{unit}: right is better; bar: 97.5 % bound, arrow: farther still",
                        fontsize=8, loc="right")  # fmt: skip
        _dress(axis, [one.asked for one in reversed(kind)])
    return _picture(figure)


def forest(found: Subgroups) -> "Image | None":
    """Mean and 95 % interval of every subgroup that is large enough for one, one panel a label; None without any."""
    large = [one for one in found.groups if one.interval]
    labels = list(dict.fromkeys(one.label for one in large))
    if not labels:
        return None
    by_label = [[one for one in large if one.label == label] for label in labels]
    figure, axes = _figure([len(groups) for groups in by_label])
    kind = METRICS[found.metric]
    for axis, label, groups in zip(axes, labels, by_label, strict=True):
        for place, one in enumerate(reversed(groups)):
            if one.interval:
                axis.plot([one.interval.low, one.interval.high], [place, place], color=BLUE, lw=2)
                axis.plot(one.interval.mean, place, "s", color=BLUE, ms=6)
        _dress(axis, [_name(one) for one in reversed(groups)])
        axis.set_title(f"{label}: {kind.title}{', ' + kind.unit if kind.unit else ''}", fontsize=10, loc="left")
    return _picture(figure)


def _name(one: Group) -> str:
    return f"{ATTRIBUTES[one.attribute][0]}: {one.name} (n = {one.patients})"


def _beyond(one: Verdict, value: float | None) -> float:
    """How far on the good side of the limit."""
    far = float(value or 0.0) - one.limit
    kind = METRICS.get(one.metric) or MEASURES.get(one.metric)
    lower = kind is not None and kind.higher_is_better is False
    return -far if lower and one.kind != "margin" else far       # a gain is larger the better, whatever was measured


def _unit(one: Verdict) -> str:
    return METRICS[one.metric].unit if one.metric in METRICS else ""


def _figure(rows: Sequence[int]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, sum(rows) * _ROW + 0.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[count + 1 for count in rows])
    return figure, list(axes[:, 0])


def _dress(axis: "Axes", names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.tick_params(axis="x", labelsize=8, color=GREY)
    axis.grid(axis="x", color="#d9dfe6", lw=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _picture(figure: "Figure") -> "Image":
    from IPython.display import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return Image(data=buffer.getvalue(), format="png")
