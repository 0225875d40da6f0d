"""A task with one answer an image, as a value: what the network sees of a volume, and what the truth is."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np

from ailab_kernel.datasets.projection import enlarged, project
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

from .recipe import CLASSIFIERS

# What a network can be shown of a volume, and how a mask answers the question, by name.
PICTURES: Mapping[str, Callable[[Volume, int], np.ndarray]] = MappingProxyType({
    "front": lambda vol, pixels: project(vol, pixels=pixels),
})
TRUTHS: Mapping[str, Callable[[Mask], bool]] = MappingProxyType({"heart-over-half-of-chest": enlarged})


@dataclass(frozen=True)
class Classification:
    """One question to an image, answered by one probability.

    Attributes
    ----------
    name, title
        ``enlarged-heart`` and a line for people.
    finding
        What the probability is of, with its code.
    picture
        What the network sees: a name in `PICTURES`.
    rule
        How a mask of the image answers: a name in `TRUTHS`.
    pixels
        Rows and columns that the network sees.
    network
        MONAI ``network_def``: one channel in, one logit out.
    threshold
        Probability from which the answer is yes.
    """

    name: str
    title: str
    finding: Label
    picture: str
    rule: str
    pixels: int
    network: Mapping[str, Any]
    threshold: float = 0.5

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the recipe."""
        return sha256(canonical_json(asdict(self)))

    def see(self, vol: Volume) -> np.ndarray:
        """Return what the network sees of a volume: float32, 0 to 1, shape (pixels, pixels)."""
        return PICTURES[self.picture](vol, self.pixels)

    def truth(self, mask: Mask) -> bool:
        """Return the answer that a reference mask gives."""
        return TRUTHS[self.rule](mask)


def find_classification(name: str) -> Classification:
    """Return the classification recipe of that name.

    Raises
    ------
    NotFound
        There is none.
    """
    if name not in CLASSIFIERS:
        msg = f"there is no classification recipe {name!r}; there are {', '.join(CLASSIFIERS)}"
        raise NotFound(msg)
    recipe: Classification = import_module(f"ailab_kernel.recipes.{name.replace('-', '_')}").RECIPE
    return recipe
