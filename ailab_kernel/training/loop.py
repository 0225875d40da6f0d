"""The training loop, whole: start, learn an epoch, look at the tuning cases, write down, until it gets no better."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import nn

from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.inference.engine import TorchEngine
from ailab_kernel.inference.windows import logits
from ailab_kernel.recipes import FineTune, Recipe
from ailab_kernel.validation.metrics import dice

from .loaders import Case, Sample, batch, digest_of, read_cases
from .runs import Row, State, open_run, save
from .transfer import frozen, rest, start

_LAST_RATE = 0.02


@dataclass(frozen=True)
class Lesson:
    """What a network is shown in a step, and how it is judged after an epoch.

    Attributes
    ----------
    show
        Recipe, network, cases, and as ``chance`` seed, epoch and step, all that it may depend on; returns images
        (batch, channels, ...) and labels (batch, 1, ...).
    judge
        Recipe, network and tuning cases; returns ``dice``, by which the best epoch is chosen, and more.
    """

    show: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    judge: Callable[[Recipe, nn.Module, Sequence[Case]], Row]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run gives.

    Attributes
    ----------
    state_dict
        Weights of the epoch with the highest tuning Dice.
    curve
        One row an epoch: ``epoch``, ``loss``, ``dice`` (mean over labels and tuning cases), ``dice <label>``, ``rate``.
    best_epoch
        Counted from 1.
    seconds
        Over all attempts.
    resumed_from
        Epochs that an earlier, broken-off attempt had done; 0 for none.
    """

    state_dict: dict[str, torch.Tensor]
    curve: tuple[Row, ...]
    best_epoch: int
    seconds: float
    resumed_from: int


def fine_tune(
    recipe: Recipe,
    base_state: Mapping[str, torch.Tensor] | None,
    *,
    train: Sequence[Sample],
    tune: Sequence[Sample],
    folder: Path,
    seed: int,
    epochs: int | None = None,
    on_epoch: Callable[[Sequence[Row]], None] | None = None,
) -> Trained:
    """Tune a model, or train one from nothing, and leave a run folder that a broken-off run resumes from.

    Parameters
    ----------
    recipe
        Network, crops, augmentation and schedule.
    base_state
        The base model's weights; None starts from nothing.
    train, tune
        Annotated studies to learn from, and to choose the best epoch by.
    folder
        The run's own folder.
    seed
        All chance comes from it.
    epochs
        Instead of the recipe's.
    on_epoch
        Called with the curve after every epoch, e.g. `plot.watch`.

    Raises
    ------
    TrainingError
        No cases, or the folder holds another run.
    """
    if not train or not tune:
        msg = f"{len(train)} training and {len(tune)} tuning cases given; at least one of each is needed"
        raise TrainingError(msg)
    cases = read_cases(recipe, train, what="training cases"), read_cases(recipe, tune, what="tuning cases")
    return run(recipe, base_state, cases=cases, folder=folder, seed=seed, epochs=epochs, on_epoch=on_epoch)


def run(
    recipe: Recipe,
    base_state: Mapping[str, torch.Tensor] | None,
    *,
    cases: tuple[Sequence[Case], Sequence[Case]],
    folder: Path,
    seed: int,
    epochs: int | None = None,
    on_epoch: Callable[[Sequence[Row]], None] | None = None,
    lesson: Lesson | None = None,
) -> Trained:
    """Train on (training, tuning) cases that are on the model grid already; see `fine_tune`.

    ``lesson`` is what the network is shown and judged by: by default crops, and the tuning Dice.
    """
    lesson = lesson or Lesson(_crops, tuning_dice)
    plan, (train, tune) = recipe.fine_tune, cases
    total = epochs or plan.epochs
    network = start(recipe, base_state, seed=seed)
    found = open_run(folder, _what(recipe, network, cases=cases, seed=seed, epochs=total))
    state, resumed_from = found or State(), found.epoch if found else 0
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=plan.decay)
    if found:
        network.load_state_dict(state.network)
        optimizer.load_state_dict(state.optimizer)
    with _repeatable():
        while state.epoch < total and not _stalled(state.curve, plan.patience):
            began = time.monotonic()
            rest(network, frozen(plan, state.epoch))
            loss = _learn(recipe, (network, optimizer), partial(lesson.show, recipe, network, train), seed=seed,
                          epoch=state.epoch, total=total)  # fmt: skip
            row = {"epoch": state.epoch + 1, "loss": loss, "rate": rate_at(plan, (state.epoch + 1) * plan.steps, total),
                   **lesson.judge(recipe, network, tune)}  # fmt: skip
            if row["dice"] > max((old["dice"] for old in state.curve), default=-1.0):
                state.best = copy.deepcopy(network.state_dict())
            state.curve.append(row)
            state.epoch, state.network, state.optimizer = state.epoch + 1, network.state_dict(), optimizer.state_dict()
            state.seconds += time.monotonic() - began
            save(folder, state)
            if on_epoch:
                on_epoch(state.curve)
    return Trained(state.best, tuple(state.curve), best_epoch(state.curve), state.seconds, resumed_from)


def _learn(
    recipe: Recipe,
    model: tuple[nn.Module, torch.optim.Optimizer],
    show: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    *,
    seed: int,
    epoch: int,
    total: int,
) -> float:
    """Take one epoch's optimizer steps and return the mean loss."""
    (network, optimizer), plan, losses = model, recipe.fine_tune, []
    loss_of = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    network.train()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(plan, epoch * plan.steps + step, total)
        images, truths = show(chance=(seed, epoch, step))
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(images), truths)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def _crops(
    recipe: Recipe, _network: nn.Module, cases: Sequence[Case], *, chance: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    seed, epoch, step = chance
    return batch(recipe, cases, seed=seed, epoch=epoch, step=step)


def tuning_dice(recipe: Recipe, network: nn.Module, cases: Sequence[Case]) -> Row:
    """Return the mean Dice over cases on the model grid, in all (``dice``) and by label (``dice <label>``)."""
    engine, scores = TorchEngine(network.eval()), []
    for case in cases:
        answer = logits(engine.run, case.image.numpy().astype(np.float32), roi=recipe.roi).argmax(0)
        truth = case.truth.numpy()
        scores.append([dice(answer == label.index, truth == label.index) for label in recipe.labels])
    means = {f"dice {label.name}": float(mean) for label, mean in zip(recipe.labels, np.mean(scores, 0), strict=True)}
    return {"dice": float(np.mean(scores)), **means}



def rate_at(plan: FineTune, step: int, epochs: int) -> float:
    """Learning rate at a step: linear warm-up, then a cosine down to a fiftieth."""
    if step < plan.warmup:
        return plan.rate * (step + 1) / plan.warmup
    share = min(1.0, (step - plan.warmup) / max(1, epochs * plan.steps - plan.warmup))
    return plan.rate * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share)))


def best_epoch(curve: Sequence[Row]) -> int:
    """Return the first epoch (counted from 1) with the highest tuning Dice."""
    return 1 + int(np.argmax([row["dice"] for row in curve]))


def _stalled(curve: Sequence[Row], patience: int) -> bool:
    return bool(curve) and len(curve) - best_epoch(curve) >= patience


def _what(recipe: Recipe, network: nn.Module, *, cases: tuple[Sequence[Case], Sequence[Case]], seed: int,
          epochs: int) -> dict[str, object]:  # fmt: skip
    """Return everything that the outcome depends on, for run.json."""
    from safetensors.torch import save as tensors

    begun = sha256(tensors({name: value.contiguous() for name, value in sorted(network.state_dict().items())}))
    return {"recipe": recipe.name, "recipe_digest": recipe.digest, "start": begun, "seed": seed, "epochs": epochs,
            "torch": torch.__version__.partition("+")[0], "threads": torch.get_num_threads(),
            "train": [case.id for case in cases[0]], "tune": [case.id for case in cases[1]],
            "data": sha256(canonical_json([digest_of(part) for part in cases]))}  # fmt: skip


@contextmanager
def _repeatable() -> Iterator[None]:
    """Only algorithms that give the same bits every time."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
