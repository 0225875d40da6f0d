"""The table, profiles of it, stand-ins, dates, and free text."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.ground.errors import SettingsError, WrongUse
from ailab_kernel.privacy.rules.profile import PROFILES, Action, profile_of
from ailab_kernel.privacy.rules.standins import StandIns, keyed, moved, read_key
from ailab_kernel.privacy.rules.table import OPTIONS, rows
from ailab_kernel.privacy.rules.text import MARK, Cleaner

from .objects import KEY


def test_the_table_is_whole():
    assert len(rows()) == 621 + 34
    assert len({one.tag for one in rows()}) == len(rows())
    assert {one.basic for one in rows()} == {"X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}
    assert {action for one in rows() for action in one.options.values()} == {"K", "C"}
    assert {name for one in rows() for name in one.options} == set(OPTIONS)


@pytest.mark.parametrize(("profile", "tag", "vr", "action"), [
    ("basic", 0x00100010, "PN", Action.DUMMY), ("basic", 0x00081030, "LO", Action.REMOVE),
    ("research", 0x00081030, "LO", Action.CLEAN), ("basic", 0x00101010, "AS", Action.REMOVE),
    ("research", 0x00101010, "AS", Action.KEEP), ("basic", 0x00080018, "UI", Action.UID),
    ("basic+uids", 0x00080018, "UI", Action.KEEP), ("basic", 0x00080020, "DA", Action.EMPTY),
    ("research", 0x00080020, "DA", Action.CLEAN), ("longitudinal", 0x00080020, "DA", Action.KEEP),
    ("basic", 0x00181000, "LO", Action.DUMMY), ("longitudinal", 0x00181000, "LO", Action.KEEP),
    ("research", 0x60003000, "OW", Action.REMOVE), ("research", 0x60020010, "US", Action.REMOVE),
    ("basic", 0x50100110, "US", Action.REMOVE), ("research", 0x0040A730, "SQ", Action.CLEAN),
    ("basic", 0x0040A730, "SQ", Action.DUMMY), ("basic", 0x00280010, "US", Action.KEEP),
    ("basic", 0x7FE00010, "OW", Action.KEEP), ("basic", 0x00104999, "LO", Action.REMOVE),
    ("basic", 0x0040A160, "UT", Action.CLEAN), ("basic", 0x00081150, "UI", Action.KEEP),
    ("basic", 0x00081155, "UI", Action.UID), ("basic", 0x00100012, "LO", Action.REMOVE),
    ("research", 0x00080201, "SH", Action.REMOVE), ("longitudinal", 0x00080201, "SH", Action.KEEP),
    ("basic", 0x00081110, "SQ", Action.REMOVE), ("basic", 0x00400555, "SQ", Action.EMPTY),
    ("basic", 0x00700082, "DA", Action.DUMMY), ("research", 0x00700082, "DA", Action.CLEAN),
])  # fmt: skip
def test_each_attribute_has_its_action(profile, tag, vr, action):
    assert profile_of(profile).action(tag, vr) == action


def test_an_object_says_what_was_done():
    assert profile_of("basic").codes == (("113100", "Basic Application Confidentiality Profile"),)
    assert [code for code, _ in profile_of("research+uids").codes][1:] == [
        "113111", "113110", "113108", "113107", "113105", "113104", "113103"]


@pytest.mark.parametrize("text", ["", "everything", "basic+nothing", "research+full-dates", "basic+full-dates+modified-dates"])
def test_a_profile_that_there_is_not_is_refused(text):
    with pytest.raises(WrongUse):
        profile_of(text)
    assert set(PROFILES) == {"basic", "research", "longitudinal"}


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.text(min_size=1))
def test_intervals_are_kept(one, other, patient):
    days = StandIns(keyed(KEY)).days(patient)
    assert -3650 <= days <= -1
    after = [datetime.strptime(moved(day.strftime("%Y%m%d"), days), "%Y%m%d").date() for day in (one, other)]
    assert after[1] - after[0] == other - one
    assert (after[0] - one).days == days


@pytest.mark.parametrize(("text", "expected"), [
    ("20240229", "20240129"), ("20240229101732.5+0100", "20240129101732.5+0100"), ("2024.02.29", "20240129"),
    ("2024", "2023"), ("202402", "202401"), ("", None), ("yesterday", None), ("20241399", None), ("00010101", None),
])  # fmt: skip
def test_dates_move(text, expected):
    assert moved(text, -31) == expected


@given(st.text(min_size=1, max_size=64))
def test_a_uid_is_one_and_always_the_same(uid):
    made = StandIns(keyed(KEY)).uid(uid)
    assert made == uid or (made.startswith("2.25.") and len(made) <= 64 and made[5] != "0")
    assert made == StandIns(keyed(KEY)).uid(uid)
    assert StandIns(keyed(bytes(32))).uid("1.2.3") != StandIns(keyed(KEY)).uid("1.2.3")


def test_uids_of_the_standard_stay():
    assert StandIns(keyed(KEY)).uid("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"


def test_a_key_is_secret_and_long_enough(tmp_path):
    with pytest.raises(SettingsError, match="at least 32"):
        keyed(b"short")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key(tmp_path / "none")
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("text", [
    "CT chest w/o contrast", "Thorax 1.5 B30f", "AX T2 FLAIR 3mm", "Lung 1.25 Low Dose", "ABD/PELVIS 5.0 x 5.0",
    "PET-CT Onko, 60 min p.i.", "MPR sag 3.0 MPR", "knee left AP 2 views", "64y old, cough for 3 weeks", "Dixon 1.2.3",
    "flip 120, TE 4.5/TR 1200", "5th rib, series 12",
])  # fmt: skip
def test_what_says_nothing_of_a_person_stays(text):
    assert Cleaner.of(["Quixano^Alonso", "MRN-4711-77"]).clean(text) == text


@pytest.mark.parametrize(("text", "gone"), [
    ("Chest of ALONSO QUIXANO", "quixano"), ("quixano alonso, 3rd visit", "alonso"), ("see MRN-4711-77", "4711"),
    ("born 23.09.1928", "1928"), ("seen 09/23/1928", "1928"), ("on 1928-09-23", "1928"), ("call 555-123-4567", "4567"),
    ("mail a.quixano@mancha.example", "mancha"), ("signed Dr. Carrasco", "Carrasco"), ("Prof Maria de Silva", "Maria"),
    ("DOB: 3 Jan 1950", "1950"), ("admitted Feb 3, 2021", "2021"), ("pt is 93 years old", "93"), ("MRN 00123", "00123"),
    ("12 Windmill Road", "Windmill"), ("ref: A12345", "A12345"), ("SSN 123-45-6789", "6789"), ("id 20240229", "20240229"),
    ("from 10.1.2.33", "10.1.2.33"), ("http://pacs/q?id=1", "pacs"), ("C:\\scans\\quixano.dcm", "scans"),
    ("uid 1.2.276.0.77.77.12", "276"), ("Name: Sancho Panza", "Sancho"), ("tel 0231 / 45 67 89", "45 67"),
])  # fmt: skip
def test_what_identifies_goes(text, gone):
    after = Cleaner.of(["Quixano^Alonso", "MRN-4711-77", "19280923"]).clean(text)
    assert gone.lower() not in after.lower(), after
    assert MARK in after
