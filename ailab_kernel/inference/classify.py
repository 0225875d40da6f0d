"""One probability an image: a classifier and a volume make an answer."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ailab_kernel.ground.errors import AnswerImplausible, ModelError
from ailab_kernel.models import Bundle
from ailab_kernel.recipes.classification import find_classification
from ailab_kernel.volumes.volume import Volume

from .engine import torch_engine


@dataclass(frozen=True)
class Answer:
    """What a classifier says of one image.

    Attributes
    ----------
    finding
        Name of what it was asked for.
    probability
        Of the finding, 0 to 1, as the model's tuning cases calibrated it.
    positive
        Whether that reaches the recipe's threshold.
    """

    finding: str
    probability: float
    positive: bool


class Classifier:
    """Runs one model that answers with a probability; in torch, on the processor.

    Parameters
    ----------
    bundle
        The model; its weights are checked against their digest.

    Raises
    ------
    NotFound
        Its recipe is none of a classification.
    ModelError
        It is a program, or its network gives more than one number.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.recipe = bundle, find_classification(bundle.recipe)
        told = bundle.network.get("num_classes", 1)
        if told != 1:
            msg = f"model {bundle.ref} gives {told} numbers an image; recipe {self.recipe.name} reads one logit"
            raise ModelError(msg)
        self._engine = torch_engine(bundle.network, bundle.weights(), device="cpu")

    def classify(self, vol: Volume) -> Answer:
        """Return the answer for one volume.

        Parameters
        ----------
        vol
            What the recipe is for, e.g. a chest CT that is projected.

        Raises
        ------
        AnswerImplausible
            The network answered with what is no number.
        VolumeError
            The volume cannot be seen as the recipe wants it.
        """
        probability = float(expit(self.logits(self.recipe.see(vol)[None])[0]))
        return Answer(self.recipe.finding.name, probability, probability >= self.recipe.threshold)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logit of each picture, float64 shape (n,), of float32 pictures (n, pixels, pixels)."""
        answer = self._engine.run(np.ascontiguousarray(images[:, None], np.float32)).astype(float)
        if not np.isfinite(answer).all():
            msg = f"model {self.bundle.ref} answered with values that are no numbers; held: nothing of it can be used"
            raise AnswerImplausible(msg)
        return answer.reshape(-1)
