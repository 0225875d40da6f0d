"""How the detector and the classifier that come with the product are made: no phantom twice, calibrated on the tuning cases."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from ailab_kernel.datasets.nodules import nodule_exam
from ailab_kernel.models import base_bundle, build_network
from ailab_kernel.recipes import find
from ailab_kernel.recipes.classification import find_classification
from ailab_kernel.training import classify, lesions
from ailab_kernel.validation.calibration import calibration
from ailab_kernel.validation.rated import Rated
from tests.validation.test_whole import scans

RECIPE = find_classification("enlarged-heart")


@pytest.mark.parametrize("made", [lesions, classify])
def test_no_phantom_is_on_two_sides(made):
    sides = [set(one) for one in (made.TRAIN, made.TUNE, made.HELD_OUT)]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_half_of_the_judged_phantoms_have_no_lesion():
    counts = [nodule_exam(seed).nodules for seed in lesions.HELD_OUT]
    assert counts.count(0) == len(counts) / 2
    assert all(nodule_exam(seed).nodules for seed in lesions.TUNE), "a Dice without a lesion is best where nothing is found"


@pytest.mark.parametrize(("name", "digest"), [("lung-lesions", find("lung-lesions").digest), ("enlarged-heart", RECIPE.digest)])
def test_the_bundle_was_made_by_the_recipe_as_it_is(name, digest):
    bundle = base_bundle(name)
    assert bundle.metadata["recipe_digest"] == digest
    assert set(bundle.weights()) == set(build_network(bundle.network).state_dict())
    assert {"description", "intended_use", "limits", "performance", "training_data"} <= set(bundle.metadata)
    assert "Not a medical device" in bundle.metadata["intended_use"]
    assert "phantoms" in str(bundle.metadata["performance"]), "a score never stands without what it was measured on"
    assert bundle.weights_digest


def test_a_temperature_makes_overconfident_logits_honest():
    random = np.random.default_rng(1)
    odds = random.normal(0, 1.5, 4000)
    truth = random.random(4000) < expit(odds)
    t = classify.temperature(odds * 3, truth)
    assert t == pytest.approx(3, rel=0.1)
    assert calibration(expit(odds * 3 / t), truth).ece < 0.03 < calibration(expit(odds * 3), truth).ece


def test_a_temperature_is_folded_into_the_last_layer_and_ranks_nothing_anew():
    torch.manual_seed(3)
    network, images = build_network(RECIPE.network).eval(), torch.rand(5, 1, 128, 128)
    with torch.inference_mode():
        before = network(images)
        after = classify.cooled(network, 2.5)(images)
    torch.testing.assert_close(after, before / 2.5, atol=1e-5, rtol=1e-4)


def test_training_makes_the_same_bytes_again_and_learns(monkeypatch):
    monkeypatch.setattr(classify, "EPOCHS", 6)
    random = np.random.default_rng(2)
    truth = np.arange(32) % 2 == 0
    images = random.uniform(0, 0.3, (32, 1, 128, 128)).astype(np.float32)
    images[truth, :, 40:90, 40:90] += 0.6
    shown = classify.Pictures(images, truth, np.where(truth, 0.6, 0.4))
    one, other = (classify.train(RECIPE, shown).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    network = build_network(RECIPE.network)
    network.load_state_dict(one)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(images))[:, 0].numpy()
    assert logits[truth].mean() > logits[~truth].mean()


def test_cards_say_how_many_and_how_sure():
    told = lesions.figures(scans())
    assert "lesions in 80 phantoms" in " ".join(told)
    assert "lower 97.5 % bound" in told["at 1 false positive per scan"]
    rated = [Rated(str(i), str(i), 0.9 if i % 2 else 0.2, bool(i % 2) != (i < 4)) for i in range(40)]
    told = classify.figures(rated, np.linspace(0.4, 0.6, 40), threshold=0.5)
    assert told["sensitivity at 0.5"].startswith("18 of 20")
    assert "20 of 40 phantoms" in told["prevalence"]
