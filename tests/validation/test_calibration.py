"""Calibration by hand, on probabilities that are right by construction, and beside scikit-learn's binning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.validation.calibration import calibration


def test_by_hand():
    found = calibration([0.1, 0.2, 0.8, 0.9], [False, True, True, True], bins=2)
    assert found.brier == pytest.approx((0.01 + 0.64 + 0.04 + 0.01) / 4)
    assert found.ece == pytest.approx((2 * abs(0.5 - 0.15) + 2 * abs(1 - 0.85)) / 4)
    assert found.largest_gap == pytest.approx(0.35)
    first = found.bins[0]
    assert (first.above, first.upto, first.n) == (0.0, 0.5, 2)
    assert (first.predicted, first.observed) == pytest.approx((0.15, 0.5))
    assert first.low < 0.5 < first.high


def test_bins_of_equal_size_do_not_hang_on_a_crowded_one():
    """90 of 100 cases between 0 and 0.1: one bin by width, nine by size."""
    values = np.concatenate([np.linspace(0.001, 0.099, 90), np.linspace(0.5, 0.95, 10)])
    found = calibration(values.tolist(), (values > 0.4).tolist())
    assert found.bins[0].n == 90
    assert [one.n for one in found.mass_bins] == [10] * 10


def test_probabilities_that_are_right_are_calibrated_and_squared_ones_are_not():
    random = np.random.default_rng(7)
    values = random.random(40_000)
    truth = random.random(40_000) < values
    right, wrong = calibration(values.tolist(), truth.tolist()), calibration((values**2).tolist(), truth.tolist())
    assert max(right.ece, right.ece_mass) < 0.01
    # E|p - p²| over even p is 1/6.
    assert wrong.ece == pytest.approx(1 / 6, abs=0.01)
    assert wrong.ece_mass == pytest.approx(1 / 6, abs=0.01)
    assert right.brier == pytest.approx(1 / 6, abs=0.005), "E p(1-p)"
    assert right.brier < wrong.brier


@st.composite
def cases(draw):
    n = draw(st.integers(1, 60))
    values = draw(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]) | st.floats(0, 1), min_size=n, max_size=n))
    return values, draw(st.lists(st.booleans(), min_size=n, max_size=n)), draw(st.integers(1, 15))


@settings(max_examples=200, deadline=None)
@given(cases(), st.randoms())
def test_no_case_is_lost_and_their_order_decides_nothing(case, random):
    values, truth, bins = case
    found = calibration(values, truth, bins=bins)
    for curve in (found.bins, found.mass_bins):
        assert sum(one.n for one in curve) == len(values)
        assert sum(one.n * one.predicted for one in curve) == pytest.approx(sum(values), abs=1e-9)
        assert all(one.above - 1e-12 <= one.predicted <= one.upto + 1e-12 for one in curve)
        assert len(curve) <= bins
    assert 0 <= found.ece <= found.largest_gap + 1e-12 <= 1 + 1e-12
    # Jensen: the mean distance over any bins is at most the root of the mean squared one over cases.
    assert found.ece**2 <= found.brier + 1e-12
    order = list(range(len(values)))
    random.shuffle(order)
    again = calibration([values[n] for n in order], [truth[n] for n in order], bins=bins)
    assert (again.ece, again.ece_mass) == pytest.approx((found.ece, found.ece_mass), abs=1e-12)


def test_a_report_shows_it():
    shown = calibration([0.1, 0.9], [False, True])._repr_html_()
    assert "Brier score" in shown
    assert "0.90" in shown


@pytest.mark.parametrize(("values", "truth"), [([], []), ([0.5], [True, False]), ([1.2], [True]), ([float("nan")], [True])])
def test_what_is_no_probability_is_refused(values, truth):
    with pytest.raises(WrongUse):
        calibration(values, truth)


def test_the_curve_is_scikit_learns():
    """Where scikit-learn is at hand (it is not in the lock); benchmarks/metrics.py compares the two in any case."""
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    assert sklearn
    random = np.random.default_rng(3)
    values, truth = random.random(500) ** 2, random.random(500) < 0.4
    found = calibration(values.tolist(), truth.tolist())
    assert found.brier == pytest.approx(brier_score_loss(truth, values))
    for strategy, curve in (("uniform", found.bins), ("quantile", found.mass_bins)):
        observed, predicted = calibration_curve(truth, values, n_bins=10, strategy=strategy)
        assert [one.observed for one in curve] == pytest.approx(observed.tolist())
        assert [one.predicted for one in curve] == pytest.approx(predicted.tolist())
