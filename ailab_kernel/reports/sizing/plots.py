"""Pictures of a sizing: disk over the years, waiting times over the load."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ailab_kernel.fleet.capacity import Point

if TYPE_CHECKING:
    from IPython.display import Image

# Okabe-Ito: told apart by colour-blind readers.
COLORS = {"annotated": "#0072B2", "models": "#009E73", "results": "#E69F00", "queue": "#9aa7b4"}
KINDS = {"annotated": "annotated studies", "models": "models and versions", "results": "results of inference",
         "queue": "room for the queue"}  # fmt: skip
_ORANGE = "#D55E00"


def disk_over_time(years: Sequence[Mapping[str, float]], *, retention_years: float) -> "Image":
    """Stacked bars, one a year, GB by kind; a line where the retention time ends.

    Parameters
    ----------
    years
        Of `fleet.sizing.disk_over_time`.
    retention_years
        After which as much is deleted as comes in.
    """
    figure, axis = _axis()
    places, below = range(1, len(years) + 1), [0.0] * len(years)
    unit, name = (1000.0, "TB") if max(sum(one.values()) for one in years) >= 2000 else (1.0, "GB")
    for kind, color in COLORS.items():
        heights = [one[kind] / unit for one in years]
        axis.bar(places, heights, bottom=below, color=color, width=0.7, label=KINDS[kind])
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axis.axvline(retention_years + 0.5, color=_ORANGE, lw=1.2, ls="--", label="retention ends: as much goes as comes")
    axis.set(xlabel="end of year", ylabel=f"disk, {name}", xticks=list(places))
    axis.set_ylim(0, max(below) * 1.45)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return _picture(figure)


def waiting(points: Sequence[Point], *, now: float, breaks: float, longest_s: float) -> "Image":
    """Waiting time over studies a day, for 50 and 95 of 100 studies, with today's load and where service breaks.

    Parameters
    ----------
    points
        Of `fleet.capacity.waiting_curve`.
    now
        Studies a day of the site.
    breaks
        Studies a day from which on 95 of 100 wait longer than ``longest_s``.
    longest_s
        The longest wait that is service, s.
    """
    figure, axis = _axis()
    across = [point.studies_per_day for point in points]
    axis.plot(across, [max(point.p95, 0.1) / 60 for point in points], color="#0072B2", marker="o", ms=4,
              label="95 of 100 wait at most")  # fmt: skip
    axis.plot(across, [max(point.p50, 0.1) / 60 for point in points], color="#56B4E9", marker="o", ms=4,
              label="50 of 100 wait at most")  # fmt: skip
    axis.axhline(longest_s / 60, color="#6b7580", lw=1, ls=":", label=f"{longest_s / 60:g} min")
    axis.axvline(breaks, color=_ORANGE, lw=1.2, ls="--", label=f"service breaks: {breaks:.0f} a day")
    axis.axvline(now, color="#009E73", lw=1.5, label=f"this site: {now:g} a day")
    axis.set(xlabel="studies a day", ylabel="wait, minutes", yscale="log")
    if breaks > 20 * now:
        axis.set(xscale="log", xlabel="studies a day (logarithmic)")
    else:
        axis.set_xlim(0, max([*across, now, breaks]) * 1.05)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _picture(figure)


def _axis() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)
    return figure, axis


def _picture(figure: Any) -> "Image":
    from IPython.display import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return Image(data=buffer.getvalue())
