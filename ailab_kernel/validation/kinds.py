"""What models answer with, and so how their cases are scored: a mask, findings with scores, or one probability."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.models import Bundle
from ailab_kernel.recipes import find
from ailab_kernel.recipes.recipe import CLASSIFIERS

MASK, FINDINGS, PROBABILITY = "a mask", "findings with scores", "a probability"


def kind_of(models: Sequence[Bundle]) -> str:
    """Return what all of some models answer with: `MASK`, `FINDINGS` or `PROBABILITY`.

    Parameters
    ----------
    models
        One, or several that are to be compared.

    Raises
    ------
    WrongUse
        They answer with different things, so that nothing can be compared.
    """
    found = {bundle.ref: _kind(bundle.recipe) for bundle in models}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{ref} with {kind}" for ref, kind in found.items())
        msg = f"{told}: models that answer with different things cannot be compared; choose two of one kind"
        raise WrongUse(msg)
    return next(iter(found.values()))


def scorer_of(kind: str, *, tolerance_mm: float) -> Callable[..., Mapping[str, Any]]:
    """Return what scores one case of models of a kind: ``score(workspace, case, models=, dataset=)``.

    Parameters
    ----------
    kind
        Of `kind_of`.
    tolerance_mm
        Of the surface Dice, for masks.
    """
    if kind == MASK:
        from .cases import score_case

        return partial(score_case, tolerance_mm=tolerance_mm)
    from .scoring import score_findings, score_probability

    return score_findings if kind == FINDINGS else score_probability


def _kind(recipe: str) -> str:
    if recipe in CLASSIFIERS:
        return PROBABILITY
    try:
        return FINDINGS if find(recipe).candidates else MASK
    except NotFound:
        return MASK                            # a model from elsewhere: its predictor says what is missing
