"""Blind double reading: nobody sees a reading before its readers have all written theirs."""

import pytest

from ailab_kernel.annotation.reading import pseudonym
from tests.service.serving import serving

READERS = ["ray", "rita"]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    people = ("ray/radiologist", "rita/radiologist", "remy/radiologist")
    with serving(tmp_path_factory.mktemp("blind"), *people) as running:
        yield running


def as_readers(house, names) -> list[str]:
    return [pseudonym(house.desk.realms.lab, name) for name in names]


def write(house, reader: str, case: str, *, as_reader: str = "", readers=READERS, volume: float = 1.5):
    (own,) = as_readers(house, [as_reader or reader])
    body = {"volume_ml": volume, "blind": {"case": case, "reader": own, "readers": as_readers(house, readers)}}
    return house.ask(reader, "POST", "catalog/records", json={"kind": "reading", "name": "task-1", "body": body})


def seen(house, person: str, case: str, **asked) -> list[str]:
    found = house.ask(person, "GET", "catalog/records", params={"kind": "reading", **asked}).json()
    return [one["made_by"] for one in found if one["body"].get("blind", {}).get("case") == case]


def test_a_reading_is_its_writers_until_both_are_there(house):
    first = write(house, "ray", "1.2.3").json()
    assert seen(house, "ray", "1.2.3") == ["ray"]
    for other in ("rita", "remy", "data-scientist", "auditor", "admin"):
        assert seen(house, other, "1.2.3") == []
        assert seen(house, other, "1.2.3", digest=first["digest"]) == []
        assert seen(house, other, "1.2.3", name="task-1", version=first["version"]) == []
    write(house, "ray", "1.2.3", volume=9.0)
    assert seen(house, "rita", "1.2.3") == [], "a reader's second one opens nothing"
    write(house, "rita", "1.2.4")
    assert seen(house, "rita", "1.2.3") == [], "nor does another case"
    write(house, "rita", "1.2.3")
    for person in (*READERS, "remy", "auditor"):
        assert seen(house, person, "1.2.3") == ["ray", "ray", "rita"]
    assert seen(house, "ray", "1.2.4") == []


def test_nobody_else_writes_one(house):
    for person, told in (("remy", {}), ("remy", {"as_reader": "rita"}), ("data-scientist", {"as_reader": "rita"})):
        assert write(house, person, "1.2.5", **told).status_code == 400
    write(house, "ray", "1.2.5")
    assert write(house, "remy", "1.2.5", readers=["remy", "rita"]).ok, "a blind reading of another pair"
    assert seen(house, "rita", "1.2.5") == []


@pytest.mark.parametrize("blind", [None, True, [], {}, {"case": "1"}, {"case": 1, "reader": "ray", "readers": READERS},
                                   {"case": "1", "reader": "ray", "readers": ["ray"]},
                                   {"case": "1", "reader": "ray", "readers": READERS, "open": True}], ids=str)  # fmt: skip
def test_a_misshapen_one_is_refused(house, blind):
    body = {"blind": blind}
    answer = house.ask("ray", "POST", "catalog/records", json={"kind": "reading", "body": body})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("blind")


def test_equal_readings_are_two_records(house):
    made = [write(house, reader, "1.2.6").json() for reader in READERS]
    assert [one["made_by"] for one in made] == READERS
    assert made[0]["digest"] != made[1]["digest"]
