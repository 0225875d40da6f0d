"""From a pseudonym back to the patient: by role, with a reason, in the trail, and by no list."""

import json
import sqlite3
from contextlib import closing

import pytest

from ailab_kernel.ground.errors import AilabError, NotFound, SealBroken, WrongUse
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from tests.cli.running import ailab
from tests.ground.test_audit import valid
from tests.ground.test_catalog import open_catalog
from tests.service.serving import ROLES, token

PATIENT, WHY = "MRN-4711-77", "a nodule that was not in the report"


def table(folder):
    return closing(sqlite3.connect(folder / "catalog.sqlite"))


def events(catalog) -> list[tuple[str, dict]]:
    return [(line["event"], json.loads(line["detail"])) for line in catalog.audit_trail()]


def test_the_way_back_is_kept_encrypted_and_written_down(tmp_path):
    from ailab_kernel.ground.audit_messages import message

    catalog = open_catalog(tmp_path)
    pseudonym = catalog.pseudonym("patient", PATIENT)
    assert catalog.pseudonym("patient", PATIENT) == pseudonym
    catalog.pseudonym("uid", "1.2.3")
    with table(tmp_path) as db:
        (kept, hidden), = db.execute("SELECT * FROM patients").fetchall()
    assert (kept, len(bytes.fromhex(hidden))) == (pseudonym, 12 + len(PATIENT) + 16)
    assert not [one for one in tmp_path.iterdir() if one.is_file() and PATIENT.encode() in one.read_bytes()]
    assert catalog.reidentify(pseudonym, WHY) == PATIENT
    line, = catalog.audit_trail()
    assert (line["event"], json.loads(line["detail"])) == ("reidentified", {"pseudonym": pseudonym, "reason": WHY})
    told = valid(message(line, source="ailab"))
    assert [one.get("csd-code") for one in told.find("EventIdentification")] == ["110113", "110132"]


def test_what_has_no_entry_is_told_and_written_down(tmp_path):
    catalog = open_catalog(tmp_path)
    with pytest.raises(NotFound, match="older than this map"):
        catalog.reidentify("0" * 16, WHY)
    assert [event for event, _ in events(catalog)] == ["reidentify-unknown"]


@pytest.mark.parametrize(("pseudonym", "reason"), [
    ("Quixano", WHY), ("", WHY), (None, ""), (None, "  "), (None, f"asked for {PATIENT} by phone"), (None, "for Quixano"),
])  # fmt: skip
def test_no_reason_or_one_that_names_somebody_is_refused_and_leaves_no_name(tmp_path, pseudonym, reason):
    catalog = open_catalog(tmp_path)
    catalog.remember({"PatientName": ["Quixano^Alonso"]})
    made = catalog.pseudonym("patient", PATIENT)
    with pytest.raises(WrongUse):
        catalog.reidentify(made if pseudonym is None else pseudonym, reason)
    assert catalog.audit_trail() == []


def test_an_entry_that_was_moved_to_another_pseudonym_is_found_out(tmp_path):
    catalog = open_catalog(tmp_path)
    one, other = (catalog.pseudonym("patient", name) for name in ("P1", "P2"))
    with table(tmp_path) as db, db:
        db.execute("UPDATE patients SET hidden = (SELECT hidden FROM patients WHERE pseudonym = ?) WHERE pseudonym = ?",
                   (one, other))
    with pytest.raises(SealBroken):
        catalog.reidentify(other, WHY)


def test_behind_the_hub_one_role_may_and_every_other_is_counted(house, monkeypatch, tmp_path):
    lab = house.desk.realms.lab
    pseudonym = lab.pseudonym("patient", PATIENT)
    for role in ROLES:
        monkeypatch.setenv("TOKEN", token(role))
        catalog = RemoteCatalog(house.url, token_env="TOKEN", cache=tmp_path / role)
        if role == "admin":
            assert catalog.reidentify(pseudonym, WHY) == PATIENT
            with pytest.raises(NotFound):
                catalog.reidentify("0" * 16, WHY)
        else:
            with pytest.raises(AilabError, match=f"reidentify is not for {role}"):
                catalog.reidentify(pseudonym, WHY)
    assert sum(row["times"] for row in house.desk.refusals.counts() if row["act"] == "reidentify") == 4
    lines = [(row["by"], row["event"]) for row in lab.audit_trail() if "identif" in row["event"]]
    assert lines == [("admin", "reidentified"), ("admin", "reidentify-unknown")]
    assert sum("reidentify" in line["detail"] for line in lab.audit_trail()) == 4, "each refusal has its line"
    assert PATIENT not in json.dumps(lab.audit_trail())
    for path in ("catalog/reidentifications", "catalog/patients", "catalog/pseudonyms"):
        assert house.ask("admin", "GET", path).status_code in {404, 405}, "nobody can list them"
    forged = {"event": "reidentified", "detail": {"pseudonym": pseudonym}}
    assert house.ask("data-scientist", "POST", "catalog/audit", json=forged).status_code == 400


def test_the_command_line_in_a_pilot(workspace, monkeypatch, capsys):
    monkeypatch.setenv("AILAB_HOME", str(workspace.home))
    pseudonym = workspace.catalog.pseudonym("patient", PATIENT)
    assert ailab("reidentify", pseudonym, "--reason", WHY) == 0
    told = capsys.readouterr()
    assert told.out == f"{PATIENT}\n"
    assert "roles are not enforced here" in told.err
    assert ailab("reidentify", pseudonym) == 2
    assert ailab("reidentify", "Quixano", "--reason", WHY) == 2
    assert "Quixano" not in capsys.readouterr().err
