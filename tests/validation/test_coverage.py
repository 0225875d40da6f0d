"""Intervals cover the truth as often as they say, and a gate lets through no more than it says: simulated, seeds fixed.

2,000 studies a case with `make battery`; docs/validation.md has the table.
"""

import pytest

from tests.conftest import FULL_BATTERY

from .coverage import FAMILIES, FULL, SAMPLE


@pytest.mark.battery
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_promised_is_kept(family):
    found = list(FAMILIES[family](FULL if FULL_BATTERY else SAMPLE[family]))
    assert found
    missed = [f"{one.what}, {one.population}, n = {one.n}: {one.share:.4f}" for one in found if not one.kept]
    assert missed == []
