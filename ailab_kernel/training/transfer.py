"""A base model's weights become the start of a new one."""

from collections.abc import Mapping

import torch
from torch import nn

from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.models import build_network
from ailab_kernel.recipes import FineTune, Recipe


def start(recipe: Recipe, base_state: Mapping[str, torch.Tensor] | None, *, seed: int) -> nn.Module:
    """Return the recipe's network with the base's weights, or fresh ones.

    A parameter whose shape differs (the head, when the labels differ) keeps its fresh weights, drawn from ``seed``.

    Parameters
    ----------
    recipe
        The network.
    base_state
        Parameters by name; None starts from nothing.
    seed
        For fresh weights.

    Raises
    ------
    TrainingError
        Less than half of the base fits: it is another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(recipe.network)
    if base_state is None:
        return network
    own = network.state_dict()
    fits = {name: value for name, value in base_state.items() if name in own and own[name].shape == value.shape}
    if 2 * len(fits) < len(own):
        msg = f"the base fits {len(fits)} of {len(own)} parameters of recipe {recipe.name}; give a base of that recipe"
        raise TrainingError(msg)
    network.load_state_dict({**own, **fits})
    return network


def frozen(plan: FineTune, epoch: int) -> tuple[str, ...]:
    """Return the parameter prefixes that rest in this epoch (counted from 0)."""
    return next((prefixes for first, prefixes in reversed(plan.frozen) if epoch >= first), ())


def rest(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Let the parameters below ``prefixes`` rest and all others learn."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes) if prefixes else True)
        parameter.grad = None
