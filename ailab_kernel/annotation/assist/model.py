"""A model that follows clicks, and which one helps with a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ailab_kernel.ground.errors import NotFound
from ailab_kernel.models import Models
from ailab_kernel.recipes.recipe import Recipe
from ailab_kernel.volumes.volume import Volume

from .random_walk import RandomWalk
from .refine import Hint, Refiner, pin

if TYPE_CHECKING:
    from ailab_kernel.inference.guided import GuidedPredictor
    from ailab_kernel.workspace import Workspace

_SUFFIX = "clicks"


@dataclass(frozen=True)
class ModelRefiner:
    """A `Refiner` that asks a guided model; the clicks hold whatever it says."""

    name: str
    predictor: "GuidedPredictor"

    def refine(self, vol: Volume, array: np.ndarray, hints: Sequence[Hint], *, label: int) -> np.ndarray:
        """Return the mask after the clicks; see `Refiner.refine`."""
        if not hints:
            return array.copy()
        clicks = [(hint.place, hint.label) for hint in hints]
        return pin(self.predictor.refine(vol, array, clicks, label=label), vol.grid, hints, label=label)


def model_refiner(workspace: "Workspace", model: str) -> Refiner:
    """Return the refiner of a model of the lab.

    Parameters
    ----------
    workspace
        Catalog.
    model
        Reference, e.g. ``heart-wall-clicks@general``.

    Raises
    ------
    NotFound
        There is no such model.
    ModelError
        It takes no clicks.
    """
    from ailab_kernel.inference.guided import GuidedPredictor

    bundle = Models(workspace.catalog).get(model)
    return ModelRefiner(bundle.ref, GuidedPredictor(bundle))


def refiner_for(workspace: "Workspace", recipe: Recipe) -> Refiner:
    """Return what refines a recipe's labels: its model ``<recipe>-clicks``, else the random walk.

    Of the model's aliases ``champion`` comes first, then ``general``.
    """
    for alias in ("champion", "general"):
        try:
            return model_refiner(workspace, f"{recipe.name}-{_SUFFIX}@{alias}")
        except NotFound:
            continue
    return RandomWalk()
