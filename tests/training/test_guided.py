"""Click training: a simulated reader, chance from seeds only, a base's weights as the start."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ailab_kernel.models import base_bundle
from ailab_kernel.recipes import find
from ailab_kernel.recipes.guidance import guided as guided_recipe
from ailab_kernel.training import guided
from ailab_kernel.training.loaders import case_of
from ailab_kernel.training.loop import Lesson, run
from ailab_kernel.training.transfer import start

HEART = find("heart-wall")
TINY = {"channels": [4, 8], "strides": [2]}
GUIDED = guided_recipe(HEART)
RECIPE = replace(GUIDED, network={**GUIDED.network, **TINY}, augment=guided.AUGMENT,
                 fine_tune=replace(guided.STAGES[0].plan, crop=(16, 24, 24), epochs=2, steps=3))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def case(seed):
    """A ring around a ball, and a proposal that is shifted."""
    random = np.random.default_rng(seed)
    shape = (20, 30, 28)
    away = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(np.ogrid[:20, :30, :28], random.uniform(9, 14, 3), strict=True)))
    truth = np.select([away < 4, away < 7], [2, 1], 0)
    image = np.select([truth == 2, truth == 1], [0.7, 0.5], 0.2) + random.normal(0, 0.03, shape)
    proposal = np.roll(truth, 2, axis=1)
    return case_of(f"case-{seed}", image.clip(0, 1).astype(np.float16), (3 * proposal + truth).astype(np.uint8))


def network():
    return start(RECIPE, None, seed=1)


def test_the_same_chance_shows_the_same_and_clicks_start_from_none():
    cases, net, clicks = [case(n) for n in range(3)], network(), []
    for step in range(20):
        seen, truth = guided.show(RECIPE, net, cases, chance=(7, 0, step))
        again, _ = guided.show(RECIPE, net, cases, chance=(7, 0, step))
        assert torch.equal(seen, again)
        assert seen.shape == (1, 6, 16, 24, 24)
        assert truth.shape == (1, 1, 16, 24, 24)
        assert set(truth.unique().tolist()) <= {0, 1, 2}
        clicks.append(int((seen[0, 3:] > 0.999).sum()))
    assert min(clicks) == 0
    assert 3 <= max(clicks) <= guided.MOST_CLICKS


def test_it_learns_repeats_itself_and_goes_on_where_it_broke_off(tmp_path):
    cases, lesson = ([case(0), case(1)], [case(2)]), Lesson(guided.show, lambda *words: {"dice": _loss(*words)})
    first = run(RECIPE, None, cases=cases, folder=tmp_path / "a", seed=4, epochs=3, lesson=lesson)
    again = run(RECIPE, None, cases=cases, folder=tmp_path / "b", seed=4, epochs=3, lesson=lesson)
    assert first.curve == again.curve
    assert first.curve[-1]["loss"] < first.curve[0]["loss"]
    assert all(torch.equal(first.state_dict[name], value) for name, value in again.state_dict.items())


def _loss(recipe, net, cases):
    seen, truth = guided.show(recipe, net, cases, chance=(1, 1, 1))
    return float((net(seen).argmax(1) == truth[0]).float().mean().detach())


def test_the_base_is_the_start_and_blind_to_clicks():
    grown, base = (start(one, weights, seed=1).eval() for one, weights in
                   ((GUIDED, guided.grown(GUIDED)), (HEART, base_bundle("heart-wall").weights())))
    image = torch.rand((1, 1, 16, 32, 16), generator=torch.Generator().manual_seed(2))
    more = torch.rand((1, 5, 16, 32, 16), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(grown(torch.cat([image, more], 1)), base(image), atol=1e-5, rtol=1e-5)


def test_the_seeds_are_apart():
    from ailab_kernel.training.base import BASES

    seen, chosen = ({(style.name, seed) for stage in guided.STAGES for style, seeds in getattr(stage, part) for seed in seeds}
                    for part in ("learn", "tune"))
    assert len(seen) == sum(len(seeds) for stage in guided.STAGES for _, seeds in stage.learn), "a seed has one size"
    assert not seen & chosen
    assert not {seed for _, seed in seen | chosen} & {*guided.HELD_OUT, *BASES["heart-wall"].held_out}
