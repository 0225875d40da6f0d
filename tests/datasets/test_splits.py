import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.datasets.splits import SPLITS, check_leakage, split_by_patient
from ailab_kernel.ground.errors import DatasetError, Leakage, WrongUse

PATIENTS = st.lists(st.text("abcdef0123456789", min_size=4, max_size=4), min_size=3, max_size=60)


@given(PATIENTS.filter(lambda names: len(set(names)) >= 3))
def test_every_patient_has_one_split_and_none_is_empty(patients):
    split = split_by_patient(patients, (0.7, 0.15, 0.15))
    assert set(split) == set(patients)
    assert set(split.values()) == set(SPLITS)
    assert split == split_by_patient(list(reversed(patients)), (0.7, 0.15, 0.15)), "the order does not matter"


def test_shares():
    patients = [f"p{n}" for n in range(100)]
    counts = {name: list(split_by_patient(patients, (0.7, 0.2, 0.1)).values()).count(name) for name in SPLITS}
    assert counts == {"train": 70, "tune": 20, "test": 10}
    assert set(split_by_patient(patients, (0, 0, 1)).values()) == {"test"}
    assert split_by_patient(patients, (0.5, 0.5, 0), seed=1) != split_by_patient(patients, (0.5, 0.5, 0), seed=2)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.6, -0.1), (0.5, 0.5, 0.5)])
def test_wrong_shares(shares):
    with pytest.raises(WrongUse, match="sum to 1"):
        split_by_patient(["a", "b", "c"], shares)


def test_too_few_patients():
    with pytest.raises(DatasetError, match="2 patients cannot fill 3"):
        split_by_patient(["a", "b", "a"], (0.7, 0.15, 0.15))


def test_leakage_is_named():
    split = {"x": "train", "y": "test"}
    check_leakage({"x": "p1", "y": "p2"}, split, {"x": "i1", "y": "i2"})
    with pytest.raises(Leakage, match="patient p1 stands in test and train"):
        check_leakage({"x": "p1", "y": "p1"}, split, {"x": "i1", "y": "i2"})
    with pytest.raises(Leakage, match="image i1 stands in test and train"):
        check_leakage({"x": "p1", "y": "p2"}, split, {"x": "i1", "y": "i1"})
