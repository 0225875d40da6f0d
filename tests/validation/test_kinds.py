"""What a model answers with decides how it is scored; two of different kinds are not compared."""

from types import SimpleNamespace

import pytest

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.recipes import find
from ailab_kernel.recipes.recipe import CLASSIFIERS, RECIPES
from ailab_kernel.validation.cases import score_case
from ailab_kernel.validation.kinds import FINDINGS, MASK, PROBABILITY, kind_of, scorer_of
from ailab_kernel.validation.scoring import score_findings, score_probability


def model(recipe: str, version: int = 1):
    return SimpleNamespace(recipe=recipe, ref=f"{recipe}@{version}")


@pytest.mark.parametrize("recipe", [*RECIPES, *CLASSIFIERS, "from-elsewhere"])
def test_a_recipe_says_what_its_models_answer_with(recipe):
    detects = recipe in RECIPES and find(recipe).candidates
    wanted = PROBABILITY if recipe in CLASSIFIERS else FINDINGS if detects else MASK
    assert kind_of([model(recipe), model(recipe, 2)]) == wanted


def test_every_kind_is_there():
    assert {kind_of([model(recipe)]) for recipe in (*RECIPES, *CLASSIFIERS)} == {MASK, FINDINGS, PROBABILITY}


def test_a_mask_is_not_compared_with_a_probability():
    with pytest.raises(WrongUse, match=r"heart-wall@1 with a mask, .*@1 with a probability: .*cannot be compared"):
        kind_of([model("heart-wall"), model(CLASSIFIERS[0])])


def test_each_kind_has_its_scorer():
    assert scorer_of(MASK, tolerance_mm=2.0).func is score_case
    assert scorer_of(MASK, tolerance_mm=2.0).keywords == {"tolerance_mm": 2.0}
    assert scorer_of(FINDINGS, tolerance_mm=2.0) is score_findings
    assert scorer_of(PROBABILITY, tolerance_mm=2.0) is score_probability
