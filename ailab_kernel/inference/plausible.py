"""A network that fails says nothing: its answer is held where it cannot be one.

Scaled another way than it learnt, a network calls everything background and looks as healthy as before. What a recipe
expects of every image of its kind is known beforehand, and an answer outside is no result.
"""

import numpy as np

from ailab_kernel.ground.errors import AnswerImplausible, ModelError
from ailab_kernel.models import Bundle
from ailab_kernel.recipes import Recipe
from ailab_kernel.volumes.masks import Mask

_BACKGROUND = "background"


def check_channels(bundle: Bundle, recipe: Recipe) -> None:
    """Raise ModelError unless a model tells the recipe's labels apart, in the recipe's order where it names them.

    Parameters
    ----------
    bundle
        A model; a network that does not say how many channels it has is not asked.
    recipe
        Labels; background is channel 0.
    """
    count = bundle.network.get("out_channels", recipe.channels)
    if count != recipe.channels:
        msg = (f"model {bundle.ref} answers with {count} channels, recipe {recipe.name} reads {recipe.channels}; "
               "import it with the recipe that it was made for (--recipe)")  # fmt: skip
        raise ModelError(msg)
    named = _named(bundle)
    wanted = {str(label.index): label.name for label in recipe.labels}
    wrong = [number for number, name in wanted.items() if named.get(number, name) != name]
    if wrong:
        msg = (f"model {bundle.ref} calls channel {wrong[0]} {named[wrong[0]][:40]!r}, recipe {recipe.name} reads it "
               f"as {wanted[wrong[0]]!r}; its labels would be wrong")  # fmt: skip
        raise ModelError(msg)


def _named(bundle: Bundle) -> dict[str, str]:
    """What a model's metadata calls its channels; empty where it does not say."""
    told: object = bundle.metadata
    for key in ("network_data_format", "outputs", "pred", "channel_def"):
        told = told.get(key) if isinstance(told, dict) else None
    return {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}


def check_logits(answer: np.ndarray, bundle: Bundle) -> None:
    """Raise AnswerImplausible where an answer holds values that are no numbers; logits of any shape."""
    if not np.isfinite(answer).all():
        msg = f"model {bundle.ref} answered with values that are no numbers; held: nothing of it can be used"
        raise AnswerImplausible(msg)


def check_mask(mask: Mask, bundle: Bundle, recipe: Recipe) -> None:
    """Raise AnswerImplausible where a label's volume is none that an image of this kind can show.

    Parameters
    ----------
    mask
        The answer on the volume's own grid.
    bundle
        Named in the error.
    recipe
        Its ``expects``.
    """
    volumes = mask.volumes_ml()
    odd = [(name, volumes[name], low, high) for name, (low, high) in recipe.expects.items()
           if not low <= volumes[name] <= high]  # fmt: skip
    if not odd:
        return
    if not any(volumes.values()):
        found = f"called every voxel {_BACKGROUND}"
    else:
        name, volume, low, high = odd[0]
        found = f"found {volume:.0f} ml of {name}, where {low:g} to {high:g} ml are expected"
    msg = (f"model {bundle.ref} {found}; held: recipe {recipe.name} expects {', '.join(recipe.expects)} in every image."
           " Look at it; if it is what the recipe is for, the model was made for other values or labels")  # fmt: skip
    raise AnswerImplausible(msg)
