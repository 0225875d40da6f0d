"""The curve while it grows: a picture in the notebook cell, redrawn in place; a line where there is no notebook."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.progress import VARIABLE, say

from .runs import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def watch(title: str) -> Callable[[Sequence[Row]], None]:
    """Return an ``on_epoch`` for `fine_tune` that shows the curve.

    Parameters
    ----------
    title
        Above the picture, e.g. the model's name.
    """
    return _cell(title) if "ipykernel" in sys.modules else line


def line(curve: Sequence[Row]) -> None:
    """Say the last epoch in one line."""
    row = curve[-1]
    best = max(old["dice"] for old in curve)
    say(f"  epoch {row['epoch']:.0f}: loss {row['loss']:.3f}, tuning Dice {row['dice']:.3f} (best {best:.3f})")


def _cell(title: str) -> Callable[[Sequence[Row]], None]:
    from IPython.display import Image, display

    handle: list[Any] = []

    def _show(curve: Sequence[Row]) -> None:
        if VARIABLE in os.environ:  # a report: whoever started it reads along in a terminal
            line(curve)
        picture = Image(data=png(figure(curve, title=title)), format="png", width=640)
        if handle:
            handle[0].update(picture)
        else:
            handle.append(display(picture, display_id=True))

    return _show


def figure(curve: Sequence[Row], *, title: str) -> "Figure":
    """Draw loss and tuning Dice over epochs.

    Parameters
    ----------
    curve
        `Trained.curve`, or as much of it as there is.
    title
        Above the picture.
    """
    from matplotlib.figure import Figure

    picture = Figure(figsize=(7.2, 2.6), layout="constrained")
    epochs = [row["epoch"] for row in curve]
    loss, dice = picture.subplots(1, 2)
    loss.plot(epochs, [row["loss"] for row in curve], marker=".", color="#444")
    loss.set(xlabel="epoch", ylabel="training loss")
    for key in sorted(key for key in curve[0] if key.startswith("dice ")):
        dice.plot(epochs, [row[key] for row in curve], marker=".", label=key.removeprefix("dice "))
    best = max(curve, key=lambda row: row["dice"])
    dice.axvline(best["epoch"], color="#bbb", zorder=0)
    dice.set(xlabel="epoch", ylabel="tuning Dice", ylim=(0, 1))
    dice.legend(loc="lower right", frameon=False)
    for axes in (loss, dice):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    picture.suptitle(f"{title}: best tuning Dice {best['dice']:.3f} in epoch {best['epoch']:.0f}", fontsize=10)
    return picture


def png(picture: "Figure") -> bytes:
    """Return the picture as PNG."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
