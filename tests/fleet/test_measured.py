"""The seed's table 3.4 filled with what a machine did, and the two classes that it amounts to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.fleet.measured import BOUNDS_S, TIME_CLASSES, Measured, fill, tflops_class, time_class, words
from ailab_kernel.fleet.scenario import SCENARIO

QUICK = {"Annotate": 0.9, "Train": 200.0, "Validate": 0.8, "Infer": 0.7}


def measured(**changed):
    return [Measured(workflow=name, studies=3, seconds=seconds) for name, seconds in {**QUICK, **changed}.items()]


def test_every_word_of_the_seeds_table_has_a_bound():
    assert {word for row in SCENARIO for word in (row.pilot, row.small)} == set(BOUNDS_S)


def test_a_quick_machine_is_small_or_larger_and_says_why():
    rows = fill(measured())
    assert [row.expected.workflow for row in rows] == [row.workflow for row in SCENARIO]
    assert [row.whole_s for row in rows] == pytest.approx([90.0, 200.0, 16.0, 21.0])
    assert all(row.extrapolated for row in rows)
    name, why = time_class(rows)
    assert name == "small"
    assert "small or larger" in why
    assert rows[3].rate == "5143 exams an hour"
    assert rows[3].asked == "30 an hour"
    assert rows[1].rate == "18 models an hour"
    assert rows[1].asked == ""


@pytest.mark.parametrize(("changed", "expected", "says"), [
    ({"Infer": 1.9999}, "small", "small or larger"),
    ({"Infer": 2.0}, "pilot", "Infer 30 studies (serially): 60.0 s, and 3.4 expects <1 Minute on Small"),
    ({"Infer": 119.0}, "pilot", "59.5 min"),
    ({"Infer": 120.0}, "slower than pilot", "60.0 min"),
    ({"Annotate": 36.0}, "pilot", "Annotate 100 chest CT studies (serially): 60.0 min"),
    ({"Train": 3599.0}, "small", "small or larger"),
    ({"Train": 3600.0}, "pilot", "Fine-tune 1 model"),
    ({"Train": 90_000.0}, "slower than pilot", "25.0 h"),
    ({"Validate": 3.0}, "pilot", "Validate model with 20 studies (serially): 60.0 s"),
])  # fmt: skip
def test_the_slowest_row_decides(changed, expected, says):
    name, why = time_class(fill(measured(**changed)))
    assert name == expected
    assert says in why


def test_a_row_that_was_not_measured_is_said():
    rows = fill(one for one in measured() if one.workflow != "Train")
    assert time_class(rows) == ("not measured", "train was not measured")


def test_whole_measurements_are_not_called_extrapolated():
    (row,) = fill([Measured(workflow="Infer", studies=30, seconds=0.5)])
    assert not row.extrapolated


@pytest.mark.parametrize(("tflops", "expected", "says"), [
    (0.3, "pilot", "0.3 TFLOPS lie in the range of pilot (3.2): 0 to 15"), (15.0, "small", "15 to 480"),
    (2500.0, "large", "2000 and more"),
])  # fmt: skip
def test_the_tflops_class(tflops, expected, says):
    name, why = tflops_class(tflops)
    assert name == expected
    assert says in why


@given(st.floats(0.01, 1e5), st.floats(1.0, 10.0))
def test_a_slower_machine_is_never_of_a_larger_class(seconds, times):
    def of(value):
        return TIME_CLASSES.index(time_class(fill(measured(Infer=value)))[0])
    assert of(seconds * times) <= of(seconds)


@pytest.mark.parametrize(("seconds", "expected"), [(0.52, "0.5 s"), (119.0, "119.0 s"), (150, "2.5 min"), (9000, "2.5 h")])
def test_times_for_a_person(seconds, expected):
    assert words(seconds) == expected
