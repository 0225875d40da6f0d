"""A run's folder: what it is (run.json), how it went (curve.jsonl), where it stands (checkpoint.pt), its weights."""

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.ground.ids import canonical_json
from ailab_kernel.ground.store import atomic_write

RUN, CURVE, CHECKPOINT, BEST = "run.json", "curve.jsonl", "checkpoint.pt", "best.safetensors"
Row = dict[str, float]


@dataclass
class State:
    """Where a run stands between two epochs: everything that the next epoch depends on.

    Attributes
    ----------
    epoch
        Epochs done.
    network, optimizer
        State dicts.
    best
        State dict of the epoch with the highest tuning Dice.
    curve
        One row an epoch.
    seconds
        Time spent so far, over all attempts.
    """

    epoch: int = 0
    network: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    curve: list[Row] = field(default_factory=list)
    seconds: float = 0.0


def open_run(folder: Path, what: Mapping[str, Any]) -> State | None:
    """Begin a run in a folder, or return where the same run stood when it ended early.

    Parameters
    ----------
    folder
        The run's own; created.
    what
        Everything that the outcome depends on, as plain JSON.

    Raises
    ------
    TrainingError
        The folder holds another run, or its checkpoint cannot be read.
    """
    path, record = folder / RUN, canonical_json(what)
    if path.is_file() and path.read_bytes() != record:
        msg = f"run folder {folder.name} holds another run ({_difference(path, what)} differ); give a new folder"
        raise TrainingError(msg)
    atomic_write(path, record)
    if not (folder / CHECKPOINT).is_file():
        return None
    try:
        # weights_only: tensors and plain values; an altered file cannot run code.
        return State(**torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
        msg = f"run folder {folder.name}: {CHECKPOINT} cannot be read ({type(error).__name__}); delete it to start over"
        raise TrainingError(msg) from None


def save(folder: Path, state: State) -> None:
    """Write where the run stands; the checkpoint is the truth, the curve and weights are for readers."""
    from safetensors.torch import save as tensors

    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    atomic_write(folder / CHECKPOINT, buffer.getvalue())
    atomic_write(folder / CURVE, b"".join(canonical_json(row) + b"\n" for row in state.curve))
    atomic_write(folder / BEST, tensors({name: value.contiguous() for name, value in sorted(state.best.items())}))


def read_curve(folder: Path) -> list[Row]:
    """Return the rows of ``curve.jsonl``, none before the first epoch has ended."""
    path = folder / CURVE
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()] if path.is_file() else []


def _difference(path: Path, what: Mapping[str, Any]) -> str:
    try:
        old = json.loads(path.read_bytes())
    except ValueError:
        return "all of run.json"
    return ", ".join(sorted(key for key in {*old, *what} if old.get(key) != what.get(key))) or "nothing but its form"
