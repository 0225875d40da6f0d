"""The simulated day against the closed form, and where it breaks."""

import math

import pytest

from ailab_kernel.fleet.capacity import HOSPITAL_DAY, Load, breaking_load, erlang_wait, simulate
from ailab_kernel.ground.errors import ParameterError

STEADY = (1.0,)


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (4, 0.7)])
def test_steady_exponential_service_is_erlangs_within_three_percent(servers, use):
    seconds = 60.0
    load = Load(studies_per_day=use * servers * 86400 / seconds, seconds=seconds, servers=servers, shape=STEADY)
    days, seeds = 200_000 / load.studies_per_day, range(6)  # fewer, and chance alone is 3 %
    found = sum(simulate(load, days=days, seed=seed).mean for seed in seeds) / len(seeds)
    assert found == pytest.approx(erlang_wait(load), rel=0.03)


def test_erlang_for_one_server_is_the_textbooks():
    load = Load(studies_per_day=0.5 * 86400 / 30, seconds=30, shape=STEADY)
    assert erlang_wait(load) == pytest.approx(0.5 / (1 - 0.5) * 30)
    assert erlang_wait(Load(studies_per_day=86400, seconds=2)) == math.inf


def test_the_arrivals_follow_the_day():
    load = Load(studies_per_day=2400, seconds=1)
    assert simulate(load, days=20).studies == pytest.approx(48_000, rel=0.02)
    assert len(HOSPITAL_DAY) == 24
    noon, night = max(HOSPITAL_DAY), min(HOSPITAL_DAY)
    busy = Load(studies_per_day=900, seconds=60, service="fixed")
    flat = Load(studies_per_day=900, seconds=60, service="fixed", shape=STEADY)
    assert noon > 5 * night
    assert simulate(busy, days=10).p95 > 3 * simulate(flat, days=10).p95, "the morning's peak is what people feel"


def test_the_breaking_load_lies_where_waits_pass_the_limit():
    load = Load(studies_per_day=1, seconds=120, servers=2, service="fixed")
    found = breaking_load(load, longest_s=600)
    assert found < 2 * 86400 / 120
    low, high = (simulate(Load(studies_per_day=found * part, seconds=120, servers=2, service="fixed"), days=10).p95
                 for part in (0.9, 1.15))  # fmt: skip
    assert low <= 600 < high


def test_the_same_seed_is_the_same_day():
    load = Load(studies_per_day=300, seconds=100)
    assert simulate(load, seed=3) == simulate(load, seed=3) != simulate(load, seed=4)


@pytest.mark.parametrize("change", [{"studies_per_day": 0}, {"seconds": -1}, {"servers": 0}, {"service": "random"}, {"shape": ()}])
def test_loads_that_are_none(change):
    with pytest.raises(ParameterError):
        Load(**{"studies_per_day": 1, "seconds": 1, **change})
