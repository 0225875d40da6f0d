"""A model that follows clicks, from the lab's catalog to a mask that is good enough after a few (issue 6, shows 4)."""

import numpy as np
import pytest

from ailab_kernel.annotation.assist import Hint, fallback, model_refiner, refiner_for
from ailab_kernel.annotation.assist.clicking import click
from ailab_kernel.annotation.assist.order import uncertainty
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.ground.errors import ModelError, NotFound
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import base_bundle
from ailab_kernel.recipes import find, truth_on_grid

HEART = find("heart-wall")
CLICKS = "heart-wall-clicks@general"
SIZES = ((100, 160, 160), (80, 128, 128), (60, 128, 128))            # those of benchmarks/assist.py, as are the seeds


def study(seed, style="general-hospital"):
    made = make(random_phantom(seed, style=style, size=SIZES[seed % 3]))
    return made.volume, truth_on_grid(HEART, made.truth, made.volume.grid)


@pytest.fixture(scope="module")
def proposer():
    return Predictor(base_bundle("heart-wall"), engine="torch")


def test_the_refiner_is_the_recipes_own_model_or_the_walk(workspace):
    refiner = model_refiner(workspace, CLICKS)
    assert refiner.name == "heart-wall-clicks@1"
    assert refiner_for(workspace, HEART).name == refiner.name
    assert refiner_for(workspace, find("lungs")) == fallback()
    with pytest.raises(NotFound):
        model_refiner(workspace, "spleen-clicks@general")
    with pytest.raises(ModelError, match="it can only propose"):
        model_refiner(workspace, "heart-wall@general")


def test_clicks_hold_and_other_labels_stay(workspace, proposer):
    vol, truth = study(700_000)
    mask, refiner = proposer.predict(vol).array, model_refiner(workspace, CLICKS)
    places = [tuple(axis[len(axis) // 3].astype(float) for axis in np.nonzero((truth == label) & (mask == 0))) for label in (0, 1)]
    hints = [Hint(place, label) for place, label in zip(places, (0, 1), strict=True)]
    found = refiner.refine(vol, mask, hints, label=1)
    np.testing.assert_array_equal(found == 2, mask == 2)
    assert [found[tuple(map(int, place))] for place in places] == [0, 1]
    np.testing.assert_array_equal(found, refiner.refine(vol, mask, hints, label=1))
    np.testing.assert_array_equal(refiner.refine(vol, mask, [], label=1), mask)


@pytest.mark.slow
def test_few_clicks_make_a_poor_proposal_good(workspace, proposer):
    refiner, counts = model_refiner(workspace, CLICKS), []
    for seed in range(700_000, 700_012):
        vol, truth = study(seed)
        array = proposer.predict(vol).array
        for label in (2, 1):
            done = click(refiner, vol, (array, truth), label=label)
            array = done.array
            if done.dice[0] < 0.85:
                counts.append(len(done.hints) if done.done else 20)
    assert len(counts) >= 12
    assert np.mean(counts) <= 5
    assert np.median(counts) <= 2


def test_a_proposal_on_a_strange_site_is_less_sure(proposer):
    """The base knows the university's hearts, and not the general hospital's."""
    at = {style: np.mean([uncertainty(proposer.scores(study(seed, style)[0])[0]) for seed in (700_001, 700_002)])
          for style in ("university", "general-hospital")}
    assert at["general-hospital"] > 1.2 * at["university"]
