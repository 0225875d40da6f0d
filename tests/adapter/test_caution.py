"""A study is held back for what is known of its patient, by a real FHIR server; results reach an HL7 listener by rule."""

import json
import time

import pytest

from ailab_kernel.adapter.ledger import Worklist
from ailab_kernel.adapter.looking import Caution, Dispatcher
from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.rules import read_plan
from ailab_kernel.adapter.running import Courier, check
from ailab_kernel.adapter.working import again
from ailab_kernel.ground.errors import SettingsError
from tests.adapter.listening import hl7
from tests.adapter.receiving import ROOT, image
from tests.adapter.test_running import arrive, lab, run, started
from tests.context.test_fhir import NUMBER, SYSTEM, fhir

__all__ = ["lab"]
CONTEXT = """
[context]
fhir = "{server.url}"
token = "{server.token}"
ca = "{server.ca}"
patient_system = "{system}"
permitted_by = "radiology board, 30 November 2026"
"""
HOLDS = '\nhold_when = {procedure = ["*lobectomy*"], implant = ["*pacemaker*"]}\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with fhir(tmp_path_factory.mktemp("fhir")) as there:
        yield there


def planned(tmp_path, server, holds):
    plan = tmp_path / "adapter.toml"
    plan.write_text(plan.read_text() + holds + CONTEXT.format(server=server, system=SYSTEM))
    return read_plan(plan)


def looked(inbox, lab, plan):
    """One look with caution: what was queued, and the study's work as it stands then."""
    queued = []
    caution = Caution(inbox, plan, queued.append, lab.catalog.audit)
    dispatcher = Dispatcher(inbox, plan, caution)
    dispatcher.look(time.time() + 31)
    eventually(lambda: not Worklist(inbox.ledger).unlooked(), lambda: dispatcher.look(time.time() + 31))
    (work,) = Worklist(inbox.ledger).all()
    return queued, work


def eventually(what, do):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)
        do()


def asked(lab):
    return [json.loads(str(line["detail"])) for line in lab.catalog.audit_trail() if line["event"] == "adapter.context-read"]


@pytest.mark.parametrize(("patient", "holds", "state", "said"), [
    (NUMBER, HOLDS, "held", "something is known of the patient that rule ct holds for (hold_when.procedure)"),
    (NUMBER, '\nhold_when = {condition = ["*fracture*"], medication = ["heparin*"]}\n', "queued", ""),
    ("unheard of", HOLDS, "held", "knows no patient of the study's number"),
    ("", HOLDS, "held", "no single patient number to ask by"),
], ids=["known", "not known", "no such patient", "no number"])
def test_a_study_is_held_for_what_is_known_and_for_what_cannot_be_known(lab, tmp_path, server, patient, holds, state, said):
    plan = planned(tmp_path, server, holds)
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1, PatientID=patient))
        queued, work = looked(inbox, lab, plan)
        assert (work.state, len(queued) > 0) == (state, state == "queued")
        assert said in work.reason
        assert NUMBER not in work.reason
        assert "lobectomy" not in work.reason.lower()
        lines = asked(lab)
        assert len(lines) == (1 if patient else 0)       # asked once, and said so
        assert all(line["study"] == f"{ROOT}.1" and NUMBER not in str(line) for line in lines)
        if state == "held":
            assert again(lab, inbox.ledger, work.id, plan=tmp_path / "adapter.toml").state == "queued"
            queued, work = looked(inbox, lab, plan)
            assert work.state == "queued"                # a person let it go on: it is not asked again
            assert len(asked(lab)) == len(lines)


def test_without_hold_when_nobody_is_asked(lab, tmp_path, server):
    plan = planned(tmp_path, server, "")
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1, PatientID=NUMBER))
        assert looked(inbox, lab, plan)[1].state == "queued"
        assert asked(lab) == []


def test_a_plan_that_asks_without_permission_or_without_a_server_is_refused(lab, tmp_path, server):
    path = tmp_path / "adapter.toml"
    plain = path.read_text()
    for more, said in ((HOLDS, r"name in \[context\] whom to ask, and who permitted it"),
                       (CONTEXT.format(server=server, system=SYSTEM).replace('permitted_by = "radi', '# "'), "context.permitted_by"),
                       (HOLDS.replace("procedure", "operation"), "hold_when.operation")):
        path.write_text(plain + more)
        with pytest.raises(SettingsError, match=said):
            read_plan(path)
    path.write_text(plain + CONTEXT.format(server=server, system=SYSTEM).replace("token = \"file:", "token = \"file:/nowhere"))
    with pytest.raises(SettingsError, match="context: token"):
        check(path)


def test_a_reporting_system_among_the_destinations_gets_one_message_and_no_objects(lab, tmp_path, monkeypatch):
    with hl7(tmp_path / "ris", "AE", "AA") as ris, inbox_of(lab) as inbox:
        path = tmp_path / "adapter.toml"
        path.write_text(path.read_text().replace('send = ["pacs"]', 'send = ["pacs", "ris"]')
                        + f'\n[[destination]]\nname = "ris"\nurl = "{ris.url}"\n')
        plan = check(path)
        work = started(inbox, lab, tmp_path, "copy_one", monkeypatch)
        assert run(lab, work) == {"state": "delivering"}
        assert run(lab, work) == {"state": "delivering"}
        courier, now = Courier(inbox.ledger, plan.destinations), time.time()
        assert courier.round(now) == 1                   # the archive's; the listener says no to the first
        assert Worklist(inbox.ledger).get(work.id).state == "delivering"
        assert courier.round(now + 5) == 1
        assert courier.round(now + 500) == 0
        assert Worklist(inbox.ledger).get(work.id).state == "done"
        first, second = ris.came
        assert first["text"] == second["text"]
        assert f"OBX|2|ST|110181^SOP Instance UID^DCM|1|{ROOT}.77.1" in second["text"]


def test_a_reporting_system_that_is_none_is_named_by_the_check(lab, tmp_path):
    path = tmp_path / "adapter.toml"
    path.write_text(path.read_text() + '\n[[destination]]\nname = "ris"\nurl = "mllp://ris.example"\n')
    with pytest.raises(SettingsError, match=r"destination ris: mllp://ris.example is no reporting system"):
        check(path)
