"""Rules: which fires for which study, on which series, when, and what is said of it."""

import pytest

from ailab_kernel.adapter.rules import SeriesFacts, StudyFacts, condition, facts_of, judge, read_plan
from ailab_kernel.ground.errors import SettingsError
from tests.adapter.receiving import ROOT, dcmtk, door, files, image
from tests.services import need_service

PLAN = """
ae = "AILAB"
listen = "127.0.0.1:11113"

[[caller]]
ae = "PACS"
address = "10.0.0.0/8"

[[destination]]
name = "pacs"
url = "dimse://AILAB@pacs:104/PACS"

[[rule]]
name = "chest"
run = "infer"
parameters = {model = "lungs@champion"}
when = {Modality = "CT", StudyDescription = "*chest*"}
series = {SliceThickness = "0.5..3", ConvolutionKernel = "!B70*"}
complete = {quiet_s = 30, count = "archive"}
send = ["pacs"]
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "adapter.toml"
    path.write_text(PLAN)
    return read_plan(path)


def series(number: int, instances: int, **values: str) -> SeriesFacts:
    return SeriesFacts(f"1.{number}", tuple(map(str, range(instances))), {key: (value,) for key, value in
                       {"Modality": "CT", "SeriesNumber": str(number), **values}.items()})  # fmt: skip


STUDY = StudyFacts("1", "PACS", 0.0, 100.0, (
    series(1, 300, StudyDescription="Thorax CHEST low dose", SliceThickness="1.0", ConvolutionKernel="B70f"),
    series(2, 150, StudyDescription="Thorax CHEST low dose", SliceThickness="2.0", ConvolutionKernel="B30f"),
    series(3, 90, StudyDescription="Thorax CHEST low dose", SliceThickness="3.0"),
))  # fmt: skip


@pytest.mark.parametrize(("wished", "values", "fits"), [
    ("CT", ["CT"], True), ("ct", ["CT"], True), ("CT", [], False), ("*chest*", ["Low CHEST dose"], True),
    ("c?t", ["CAT"], True), ("[CT]", ["C"], False), ("[CT]", ["[CT]"], True), (["MR", "CT"], ["CT"], True),
    ("<= 3", ["3.0"], True), ("<3", ["3.0"], False), (">=2", ["two"], False), ("1..2.5", ["2.5"], True),
    ("1..2.5", ["2.51"], False), ("!LOCALIZER", ["ORIGINAL", "LOCALIZER"], False), ("!LOCALIZER", [], True),
    (["CT", "!CTX"], ["CT"], True), (True, ["x"], True), (True, [], False), (False, [], True), (7, ["7"], True),
])  # fmt: skip
def test_conditions(wished, values, fits):
    assert condition("Modality", wished).accepts(values) is fits


def test_the_rule_takes_the_series_that_fits_and_has_most(plan):
    rule, = plan.rules
    found = judge(rule, STUDY, now=131.0, listed=540)
    assert (found.fits, found.series, found.whole) == (True, ("1.2",), True)


@pytest.mark.parametrize(("now", "listed", "whole", "wait_s"), [
    (110.0, 540, False, 20.0), (131.0, 541, False, 1.0), (131.0, None, False, 1.0), (131.0, 540, True, 0.0)])
def test_a_study_is_whole_when_it_is_quiet_and_all_is_there(plan, now, listed, whole, wait_s):
    found = judge(plan.rules[0], STUDY, now=now, listed=listed)
    assert (found.whole, found.wait_s) == (whole, wait_s)


def test_why_a_rule_did_not_fire_is_told_without_patients(plan):
    study = StudyFacts("1", "PACS", 0, 0, (series(1, 5, StudyDescription="Doe John head", SliceThickness="7"),))
    told = judge(plan.rules[0], study, now=9.0)
    assert not told.fits
    assert [one.met for one in told.reasons] == [True, False, False]
    assert told.reasons[0].words == "Modality is CT (found: CT)"
    assert "Doe" not in str(told)
    assert "0 of 1 series" in told.reasons[2].words


@pytest.mark.parametrize(("before", "after", "said"), [
    ('Modality = "CT"', 'Modalitaet = "CT"', "rule chest: 'Modalitaet' is no DICOM keyword"),
    ('send = ["pacs"]', 'send = ["pax"]', "rule chest sends to 'pax'"),
    ('name = "chest"', 'name = "pacs"', "pacs is the name of two things"),
    ('listen = "127.0.0.1:11113"', 'listen = "11113"', "is no place"),
    ('address = "10.0.0.0/8"', 'address = "10.0.0.0/99"', "a caller's address"),
    ("quiet_s = 30", "quiet_s = -1", "rule.0.complete.quiet_s"),
    ('run = "infer"', 'runs = "infer"', "rule.0.run"),
    ('ae = "PACS"', 'ae = "PACS', "no valid TOML"),
])  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, before, after, said):
    path = tmp_path / "adapter.toml"
    path.write_text(PLAN.replace(before, after))
    with pytest.raises(SettingsError) as told:
        read_plan(path)
    assert said in str(told.value)
    assert str(told.value).startswith("adapter.toml")


def test_facts_come_from_what_was_received(tmp_path):
    need_service("storescu", package="dcmtk")
    paths = files(tmp_path / "in", *(image(number, StudyDescription="CT CHEST") for number in range(1, 4)))
    with door(tmp_path) as here:
        dcmtk("storescu", here.port, paths=paths)
        found = facts_of(here.inbox, f"{ROOT}.1")
        assert facts_of(here.inbox, "1.2.3") is None
    assert (found.instances, found.sender, len(found.series)) == (3, "SCANNER", 1)
    assert found.series[0].values["Modality"] == ("CT",)
    assert "PixelData" not in found.series[0].values
    assert "Planted" not in repr(found)
