"""A classifier answers with a probability; a model of masks is refused, and so is an answer that is no number."""

import numpy as np
import pytest
import torch

from ailab_kernel.datasets.projection import radiograph_study
from ailab_kernel.ground.errors import AnswerImplausible, ModelError, NotFound
from ailab_kernel.inference.classify import Classifier
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import base_bundle, build_network, read_bundle, write_bundle
from ailab_kernel.recipes.classification import find_classification

RECIPE = find_classification("enlarged-heart")


def bundle(folder, *, bias=0.0, weight=0.0, network=RECIPE.network):
    state = build_network(network).state_dict()
    state["fc.weight"] = torch.full_like(state["fc.weight"], weight)
    state["fc.bias"] = torch.full_like(state["fc.bias"], bias)
    write_bundle(folder / "odd", name="odd", recipe="enlarged-heart", network=network, state_dict=state, metadata={})
    return read_bundle(folder / "odd", name="odd")


def test_a_logit_becomes_a_probability(tmp_path):
    vol = radiograph_study(3).volume
    for bias, positive in ((2.0, True), (-2.0, False), (0.0, True)):
        answer = Classifier(bundle(tmp_path, bias=bias)).classify(vol)
        assert answer.probability == pytest.approx(1 / (1 + np.exp(-bias)))
        assert (answer.finding, answer.positive) == ("enlarged-heart", positive)


def test_the_base_model_answers_the_same_every_time_and_not_the_same_for_all():
    one, other = (radiograph_study(seed).volume for seed in (0, 1))
    classifier = Classifier(base_bundle("enlarged-heart"))
    assert classifier.classify(one) == Classifier(base_bundle("enlarged-heart")).classify(one)
    assert classifier.classify(one).probability != classifier.classify(other).probability


def test_what_is_no_number_is_held(tmp_path):
    with pytest.raises(AnswerImplausible, match="no numbers"):
        Classifier(bundle(tmp_path, weight=3e38)).classify(radiograph_study(3).volume)


def test_models_of_another_kind_are_refused(tmp_path):
    with pytest.raises(NotFound, match="no classification recipe 'lungs'"):
        Classifier(base_bundle("lungs"))
    with pytest.raises(NotFound, match="answers with a probability"):
        Predictor(base_bundle("enlarged-heart"))
    with pytest.raises(ModelError, match="gives 3 numbers"):
        Classifier(bundle(tmp_path, network={**RECIPE.network, "num_classes": 3}))


def test_the_recipe_says_what_it_is():
    assert RECIPE.truth(radiograph_study(1).truth) in {True, False}
    assert RECIPE.see(radiograph_study(1).volume).shape == (RECIPE.pixels,) * 2
    assert len(RECIPE.digest) == 64
