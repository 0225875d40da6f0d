"""Matching keys: the table of words, and PS3.4 C.2.2.2 held against plain Python."""

import datetime
import fnmatch
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

from ailab_kernel.archives.matching import WORDS, Condition, accepted, series_conditions, split, study_conditions
from ailab_kernel.archives.qido import queries
from ailab_kernel.ground.errors import WrongUse

TEXT = st.text("ab *?[]^\\.+(é", max_size=8)
DAYS = st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 12, 31))


@pytest.mark.parametrize("word", WORDS)
def test_words_name_real_attributes_of_their_vr(word: str) -> None:
    keywords = [keyword for keyword in (WORDS[word].study, WORDS[word].series) if keyword]
    assert {dictionary_VR(keyword) for keyword in keywords} == {WORDS[word].vr}


@given(TEXT.filter(lambda text: "[" not in text), TEXT)
def test_wildcards_are_those_of_the_shell(pattern: str, value: str) -> None:
    expected = fnmatch.fnmatchcase(value.strip(), pattern)
    assert Condition("AccessionNumber", "SH", (pattern,)).accepts(value) == expected


@given(TEXT.filter(str.strip))
def test_what_is_written_out_matches_itself(value: str) -> None:
    assert Condition("StudyDescription", "LO", (value.strip(),)).accepts(value)


@given(DAYS, DAYS, DAYS)
def test_date_ranges(first: datetime.date, last: datetime.date, day: datetime.date) -> None:
    first, last = sorted((first, last))
    found = day.strftime("%Y%m%d")
    assert accepted(study_conditions({"date": f"{first}-{last:%Y%m%d}"}), {"StudyDate": found}) == (
        first <= day <= last)
    assert accepted(study_conditions({"date": f"{first}-"}), {"StudyDate": found}) == (first <= day)
    assert accepted(study_conditions({"date": f"-{last}"}), {"StudyDate": found}) == (day <= last)
    assert accepted(study_conditions({"date": [first, last]}), {"StudyDate": found}) == (day in (first, last))


@given(st.text(max_size=12))
def test_any_text_as_a_date_is_understood_or_refused(text: str) -> None:
    with suppress(WrongUse):
        assert len(study_conditions({"date": text})) <= 1


def test_no_date_is_in_no_range() -> None:
    assert not accepted(study_conditions({"date": "-20300101"}), {"StudyDate": ""})


def test_names_and_descriptions_ignore_case_and_nothing_else_does() -> None:
    assert Condition("PatientName", "PN", ("adler^*",)).accepts("Adler^Anna")
    assert Condition("StudyDescription", "LO", ("*chest*",)).accepts("CT CHEST")
    assert not Condition("AccessionNumber", "SH", ("a*",)).accepts("A1")


def test_empty_and_star_match_everything_and_ask_nothing() -> None:
    assert study_conditions({"description": "", "modality": "*", "patient": None}) == ()


def test_words_part_by_level() -> None:
    assert split({"modality": "CT", "body_part": "CHEST"}) == ({"modality": "CT"}, {"body_part": "CHEST"})
    assert [one.keyword for one in series_conditions({"modality": "CT", "description": "a"})] == [
        "Modality", "SeriesDescription"]


@given(st.lists(st.text("abX .,^é%&=+*?", min_size=1, max_size=6).filter(lambda text: text.strip() not in ("", "*")),
                min_size=1, max_size=3))
def test_a_query_is_never_stricter_than_the_question(values: list[str]) -> None:
    conditions = study_conditions({"description": values})
    asked = [Condition("StudyDescription", "LO", (query["StudyDescription"],)) for query in queries(conditions)]
    assert all(any(one.accepts(value) for one in asked) for value in conditions[0].values)
    assert all(set(one.values[0]) <= set("abX .*?") - {" "} for one in asked)


def test_long_lists_of_uids_are_asked_in_parts() -> None:
    uids = [f"1.2.{number}" for number in range(120)]
    parts = [query["StudyInstanceUID"].split(",") for query in queries(study_conditions({"study": uids}))]
    assert [len(part) for part in parts] == [50, 50, 20]
    assert [uid for part in parts for uid in part] == uids
