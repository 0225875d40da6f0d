"""Every row of the seed's sizing tables, its sample scenario, and the factors of section 4.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.fleet.sizing import ALGORITHMS, DIMENSIONS, TRAIN, Answers, answers_of, disk_of, size
from ailab_kernel.fleet.tiers import NAMES, TIERS, tier, tier_of_tflops
from ailab_kernel.ground.errors import ParameterError


@pytest.mark.parametrize(("answers", "workload", "expected"), [
    ({}, "annotate", "n/a"),
    ({"annotate_exams_per_hour": 9}, "annotate", "small"),
    ({"annotate_exams_per_hour": 10}, "annotate", "small"),
    ({"annotate_exams_per_hour": 11}, "annotate", "medium"),
    ({}, "train", "n/a"),
    ({"train": "fine-tune"}, "train", "medium"),
    ({"train": "new"}, "train", "medium"),
    ({"train": "new", "data_scientists": 3}, "train", "large"),
    ({"train": "multiple"}, "train", "large"),
    ({}, "validate", "n/a"),
    ({"validate_exams_per_hour": 29}, "validate", "small"),
    ({"validate_exams_per_hour": 30}, "validate", "small"),
    ({"validate_exams_per_hour": 31}, "validate", "medium"),
    ({}, "infer", "n/a"),
    ({"infer_exams_per_hour": 29}, "infer", "small"),
    ({"infer_exams_per_hour": 30}, "infer", "small"),
    ({"infer_exams_per_hour": 31}, "infer", "medium"),
])  # fmt: skip
def test_the_workload_table_of_3_1(answers, workload, expected):
    found = size(Answers(**answers))
    assert found.workloads[workload] == expected
    assert any(reason.startswith(f"{workload} (3.1)") for reason in found.reasons)


@pytest.mark.parametrize(("tflops", "expected"), [
    (0, "pilot"), (14.9, "pilot"), (15, "small"), (479, "small"), (480, "medium"), (1999, "medium"), (2000, "large"), (9e4, "large"),
])  # fmt: skip
def test_the_ranges_of_3_2(tflops, expected):
    assert tier_of_tflops(tflops).name == expected


def test_ram_disk_network_and_experience_are_told():
    assert all(one.ram_gb >= 16 and one.network_gbps >= 1 and one.experience and one.footprint for one in TIERS)
    found = size(Answers(infer_exams_per_hour=5))
    assert set(found.disk_gb) == {"annotated", "models", "results", "queue"}
    assert list(found.disk_by_year) == sorted(found.disk_by_year)
    assert found.network_gbps[1] >= 1


def test_the_sample_scenario_is_medium_by_the_table():
    """Andrew fine-tunes, so the table says Medium; 3.4 expects under an hour on Small."""
    andrew = Answers(annotate_exams_per_hour=10, train="fine-tune", validate_exams_per_hour=20, infer_exams_per_hour=4,
                     studies_per_day=30)  # fmt: skip
    found = size(andrew)
    assert found.tier.name == "medium"
    assert {name: found.workloads[name] for name in ("annotate", "validate", "infer")} == dict.fromkeys(
        ("annotate", "validate", "infer"), "small")  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [
    ({"image_mb": 30, "images_per_study": 60}, "medium"),                            # heavy mammography, tomosynthesis
    ({"image_mb": 10, "images_per_study": 2, "dimensions": "2d"}, "small"),          # X-ray
    ({"dimensions": "2d", "algorithm": "characterization"}, "small"),
])  # fmt: skip
def test_factors_of_size_dimension_and_algorithm(change, expected):
    rate = 20 if "image_mb" not in change or change["images_per_study"] < 10 else 8
    assert size(Answers(infer_exams_per_hour=rate, annotate_exams_per_hour=rate, **change)).tier.name == expected


def test_factors_of_the_institution_and_the_team():
    assert size(Answers(infer_exams_per_hour=5, studies_per_day=300)).workloads["infer"] == "medium"
    assert size(Answers(infer_exams_per_hour=5, studies_per_day=60)).workloads["infer"] == "small"
    assert size(Answers(train="fine-tune", data_scientists=10)).tier.name == "large"
    assert size(Answers(train="new", studies_per_day=400)).workloads["train"] == "large"


def test_how_the_pilot_is_decided():
    assert size(Answers(start_small=True, infer_exams_per_hour=2)).tier.name == "pilot"
    assert size(Answers(start_small=True)).tier.name == "pilot"
    assert size(Answers(start_small=True, train="fine-tune")).tier.name == "medium"
    assert size(Answers(start_small=True, infer_exams_per_hour=50)).tier.name == "medium"
    assert size(Answers()).tier.name == "small"


RATE = st.floats(0, 500, allow_nan=False)


@given(RATE, RATE, RATE, st.sampled_from(sorted(TRAIN)), st.floats(0.01, 60), st.floats(1, 1000), st.sampled_from(sorted(DIMENSIONS)),
       st.sampled_from(sorted(ALGORITHMS)), st.floats(1, 1000), st.integers(0, 30))  # fmt: skip
def test_more_work_never_needs_less(annotate, validate, infer, train, mb, images, dimensions, algorithm, day, team):
    answers = dict(annotate_exams_per_hour=annotate, validate_exams_per_hour=validate, infer_exams_per_hour=infer, train=train,
                   image_mb=mb, images_per_study=images, dimensions=dimensions, algorithm=algorithm, studies_per_day=day,
                   data_scientists=team)  # fmt: skip
    found = size(Answers(**answers))
    more = size(Answers(**{**answers, "infer_exams_per_hour": infer * 2 + 1, "data_scientists": team + 5, "studies_per_day": day * 2}))
    assert NAMES.index(more.tier.name) >= NAMES.index(found.tier.name)
    assert found.reasons
    assert all(value >= 0 for value in disk_of(Answers(**answers), years=7).values())


@pytest.mark.parametrize(("told", "says"), [
    ({"train": "often"}, "one of none, fine-tune, new, multiple is expected"),
    ({"infer_exams_per_hour": -1}, "not negative"),
    ({"infer_exams_per_hour": "many"}, "float is expected"),
    ({"beds": 400}, "no question is called beds"),
    ({"start_small": 1}, "bool is expected"),
    ({"data_scientists": True}, "int is expected"),
])  # fmt: skip
def test_wrong_answers_are_named(told, says):
    with pytest.raises(ParameterError, match=says):
        answers_of(told)


def test_tiers_by_name():
    assert [tier(name).name for name in NAMES] == list(NAMES)
