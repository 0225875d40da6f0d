"""Known identifiers: found in the forms that people write, never shown, and not where they say nothing."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.ground.identifiers import KINDS, entries, sightings
from tests.ground.test_catalog import open_catalog

KNOWN = {
    "PatientName": ["Quixano^Alonso^^Don", "Müller^Jürgen", "Yamada^Tarou=山田^太郎", "Young^Will"],
    "PatientID": ["MRN-4711-77", "123456", "P1"], "PatientBirthDate": ["19280923", f"{datetime.now(UTC):%Y%m%d}"],
    "OperatorsName": ["Carrasco^Sanson"], "AccessionNumber": ["ACC778899"], "StudyDescription": ["chest"],
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    found = open_catalog(folder)
    found.remember(KNOWN)
    found.remember(KNOWN)
    found.folder = folder
    return found


@pytest.mark.parametrize(("text", "kind"), [
    ("Hello QUIXANO!", "PatientName"), ("alonso_quixano.dcm", "PatientName"), ("AlonsoQuixano", "PatientName"),
    ("Mueller, Juergen", "PatientName"), ("MULLER", "PatientName"), ("Mu\u0308ller", "PatientName"),
    ("M\u00adüller", "PatientName"), ("患者は山田太郎さん", "PatientName"), ("Will Young", "PatientName"),
    ("MRN 4711/77", "PatientID"), ("mrn471177", "PatientID"), ("ID=123456.", "PatientID"), ("acc778899", "AccessionNumber"),
    ("born 23.09.1928", "PatientBirthDate"), ("1928-09-23 00:00", "PatientBirthDate"), ("9/23/1928", "PatientBirthDate"),
    ("23. September 1928", "PatientBirthDate"), ("Sep 23, 1928", "PatientBirthDate"), ("19280923", "PatientBirthDate"),
    ("by Sanson Carrasco", "OperatorsName"),
])  # fmt: skip
def test_it_is_found_as_people_write_it(catalog, text, kind):
    seen = catalog.found(["nothing here", text])
    assert {(one.text, one.kind) for one in seen} == {(1, kind)}
    assert all(0 <= one.start < one.end <= len(text) for one in seen)


@pytest.mark.parametrize("text", [
    "a young man will come", "0.123456 and 1.2.123456.7", "quixanos", "x4711y", "Don", "P1", "signed carrasco",
    f"{datetime.now(UTC):%Y-%m-%d}", "chest", "", "Alonzo", "MRN-4711-78", "Yam ada",
])  # fmt: skip
def test_what_says_nothing_is_not_found(catalog, text):
    assert catalog.found([text]) == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_name_is_found_in_any_surroundings(before, after):
    made = list(entries({"PatientName": ["Quixano^Alonso"]}, hashed=lambda one: one))
    text = f"{before} quixano {after}"
    assert sightings([text], hashed=lambda one: one, known=lambda heads: [one for one in made if one.head in heads])


@given(st.text(max_size=40))
def test_no_value_breaks_the_index(value):
    for kind in KINDS:
        assert all(phrase and len(phrase.split(" ")) <= 8 for phrase in KINDS[kind](value))


def test_nothing_can_be_read_from_the_index(catalog):
    with closing(sqlite3.connect(catalog.folder / "catalog.sqlite")) as db:
        rows = db.execute("SELECT token, head, kind FROM identifiers").fetchall()
    assert len(rows) > 30
    assert all(set(token + head) <= set("0123456789abcdef") for token, head, _ in rows)
    assert not any(word in str(rows).lower() for word in ("quixano", "4711", "1928"))
    other = open_catalog(catalog.folder / "elsewhere")
    other.remember(KNOWN)
    with closing(sqlite3.connect(catalog.folder / "elsewhere" / "catalog.sqlite")) as db:
        assert not {row[0] for row in rows} & {row[0] for row in db.execute("SELECT token FROM identifiers")}, "salted"
