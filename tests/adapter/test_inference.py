"""``POST /inference``, asked by curl: written down before it is answered, made work once, bound to what the plan knows."""

import json
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import Outbox, Requests, Worklist
from ailab_kernel.adapter.looking import Errands
from ailab_kernel.adapter.running import Courier
from ailab_kernel.adapter.working import run_work, worker
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.datasets.phantoms import make_objects
from tests.adapter.receiving import ROOT, dcmtk, files, image
from tests.adapter.webbing import House, curl, house
from tests.services import need_service, orthanc

HERE = "tests.adapter.test_running"
ALGORITHM = {"interface": "Algorithm", "connectionDetails": {"name": "ct", "id": "1"}}


def asked(*studies: dict, transaction: str = "T-1", **changed) -> dict:
    """A request as the ACR's draft has it."""
    return {"transactionID": transaction, "priority": 255,
            "inputMetadata": {"details": {"type": "DICOM_UID", "studies": list(studies)}},
            "inputResources": [ALGORITHM], "outputResources": []} | changed  # fmt: skip


def study(number: int = 1, *series: str) -> dict:
    return {"StudyInstanceUID": f"{ROOT}.{number}", **({"series": [{"SeriesInstanceUID": one} for one in series]} if series else {})}


def post(here: House, body: object, who: str = "asker") -> tuple[int, dict]:
    text = body if isinstance(body, str) else json.dumps(body)
    code, said = curl(here, "/inference", "-H", "Content-Type: application/json", "-d", text, who=who)
    return code, json.loads(said)


def queued(here: House) -> list:
    """What becomes of the requests, without a queue."""
    found = []
    Errands(here.ledger, here.adapter.plan, found.append).round()
    return found


def run(here: House, work) -> dict:
    return run_work({"home": str(here.workspace.home), "plan": str(here.cert.parent / "adapter.toml"), "work": work.id})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr("ailab_kernel.adapter.running.serving._ROUND_S", 3600.0)   # the rounds are the test's
    monkeypatch.setattr(worker, "_PERFORM", f"{HERE}:copy_one")
    need_service("storescu", package="dcmtk")
    with house(tmp_path) as one:
        yield one


def test_what_was_received_is_worked_on_by_name(here, tmp_path):
    dcmtk("storescu", here.adapter.port, paths=files(tmp_path / "in", image(1), image(2)))
    assert post(here, asked(study())) == (200, {"transactionID": "T-1"})
    assert json.loads(curl(here, "/inference/status/T-1", who="asker")[1])["state"] == "Queued"
    work, = queued(here)
    assert queued(here) == []
    assert (work.rule, work.told["priority"], work.told["asked"]) == ("ct", 1, "T-1")
    assert run(here, work) == {"state": "delivering"}
    assert Worklist(here.ledger).get(work.id).told["series"] == [f"{ROOT}.1.1"]
    told = json.loads(curl(here, "/inference/status/T-1", who="asker")[1])
    assert (told["state"], told["status"]) == ("InProcess", "Unknown")
    assert Courier(here.ledger, here.adapter.plan.destinations).round() == 1
    told = json.loads(curl(here, "/inference/status/T-1", who="asker")[1])
    assert (told["state"], told["status"], told["work"][0]["state"]) == ("Completed", "Success", "done")
    assert [one.uid for one in open_archive(f"folder:{tmp_path / 'far'}").search_series()] == [f"{ROOT}.77"]


def test_a_transaction_is_one_request(here):
    assert post(here, asked(study()))[0] == 200
    code, said = post(here, asked(study(2)))
    assert (code, "already" in said["detail"]) == (409, True)
    assert curl(here, "/inference/status/T-9", who="asker")[0] == 404
    assert curl(here, "/inference/status/T-1", who="pacs")[0] == 403
    assert len(queued(here)) == 1


def test_a_kill_before_it_was_noted_makes_no_second_work(here):
    post(here, asked(study(), study(2)))
    request, = Requests(here.ledger).new()
    first = queued(here)
    with here.ledger.engine.begin() as db:
        db.exec_driver_sql("UPDATE requests SET state = 'new'")
    again = queued(here)
    assert [one.id for one in again] == [one.id for one in first]
    assert len(Worklist(here.ledger).all()) == 2
    assert Requests(here.ledger).get(request.transaction).work == tuple(one.id for one in first)


def test_what_is_not_there_fails_and_says_so(here):
    post(here, asked(study()))
    work, = queued(here)
    with pytest.raises(Exception, match="what was received has no series of this study"):
        run(here, work)
    told = json.loads(curl(here, "/inference/status/T-1", who="asker")[1])
    assert (told["state"], told["status"]) == ("Completed", "Fail")
    assert "what was received" in told["work"][0]["reason"]


@pytest.mark.parametrize(("change", "said"), [
    ({"transactionID": "a b"}, "transactionID"),
    ({"priority": 256}, "priority"),
    ({"inputResources": []}, "exactly one Algorithm"),
    ({"inputResources": [ALGORITHM, ALGORITHM]}, "exactly one Algorithm"),
    ({"inputResources": [{"interface": "Algorithm", "connectionDetails": {"name": "../x"}}]}, "exactly one Algorithm"),
    ({"inputResources": [ALGORITHM, {"interface": "DICOMweb", "connectionDetails": {"uri": "http://169.254.169.254/"}}]},
     "inputResources: a [[destination]] of adapter.toml"),
    ({"outputResources": [{"interface": "DICOMweb", "connectionDetails": {"uri": "https://evil.example/"}}]},
     "outputResources: a [[destination]] of adapter.toml"),
    ({"inputMetadata": {}}, "details or inputs"),
    ({"inputMetadata": {"details": {"type": "DICOM_PATIENT_ID", "PatientID": "Planted"}}}, "studies are named by their UID"),
    ({"inputMetadata": {"details": {"type": "DICOM_UID", "studies": [{"StudyInstanceUID": "Planted"}]}}}, "StudyInstanceUID"),
    ({"inputMetadata": {"details": {"type": "DICOM_UID", "studies": [{"StudyInstanceUID": "1.2", "series": [
        {"SeriesInstanceUID": "1.3", "instances": [{"SOPInstanceUID": ["1.4"]}]}]}]}}}, "a series is worked on whole"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_in_one_line(here, change, said):
    code, answer = post(here, asked(study()) | change)
    assert code == 422
    assert said in answer["detail"]
    assert "Planted" not in json.dumps(answer)
    assert not Requests(here.ledger).new()


def test_what_is_no_json_and_what_is_too_long(here, tmp_path):
    assert post(here, "{")[0] == 422
    path = tmp_path / "long"
    path.write_text(" " * (2 << 20))
    assert curl(here, "/inference", "--data-binary", f"@{path}", who="asker")[0] == 413


def test_priority_and_destination_are_the_requests(here, tmp_path):
    for number, least in enumerate((0, 127, 128, 129, 254, 255)):
        post(here, asked(study(), transaction=f"P-{number}", priority=str(least)))
    assert [one.told["priority"] for one in queued(here)] == [100, 100, 10, 5, 5, 1]
    out = {"interface": "DICOMweb", "connectionDetails": {"name": "pacs"}}
    post(here, asked(study(), transaction="out", outputResources=[out]))
    assert queued(here)[0].told["send"] == ["pacs"]


def _phantom() -> list:
    return make_objects(1, style="general-hospital", size=(24, 96, 96), truth=False, spacing_mm=(10.0, 3.9, 3.7))


def test_a_study_is_retrieved_from_the_archive_that_is_named(tmp_path, monkeypatch):
    """A real Orthanc, named by its address; only the series that the rule is for stays, and the results go back."""
    monkeypatch.setattr("ailab_kernel.adapter.running.serving._ROUND_S", 3600.0)
    monkeypatch.setattr(worker, "_PERFORM", f"{HERE}:copy_one")
    with orthanc(tmp_path / "orthanc") as pacs:
        archive = open_archive(pacs.url)
        objects = _phantom()
        archive.store(objects)
        uid = str(objects[0].StudyInstanceUID)
        other = image(5, StudyInstanceUID=uid, SeriesInstanceUID=f"{ROOT}.5", SOPInstanceUID=f"{ROOT}.5.1", Modality="MR")
        archive.store([other])
        with house(tmp_path, pacs=pacs.url) as here:
            web = {"interface": "DICOMweb", "connectionDetails": {"uri": pacs.url.removeprefix("dicomweb+") + "/",
                                                                  "operations": ["QUERY", "RETRIEVE"]}}  # fmt: skip
            whole = asked({"StudyInstanceUID": uid}, inputResources=[ALGORITHM, web])
            assert post(here, whole)[0] == 200
            work, = queued(here)
            assert run(here, work) == {"state": "delivering"}
            assert run(here, work) == {"state": "delivering"}
            folder = Path(here.workspace.home, "adapter", "work", work.id, uid)
            chosen, = Worklist(here.ledger).get(work.id).told["series"]
            assert chosen != f"{ROOT}.5"
            assert sorted(one.name for one in folder.iterdir()) == sorted([chosen, f"{ROOT}.77"])
            assert len(list((folder / chosen).iterdir())) == len([one for one in objects if one.SeriesInstanceUID == chosen])
            assert not here.ledger.arrivals()          # it was retrieved, not received: no rule fires for it
            assert Courier(here.ledger, here.adapter.plan.destinations).round() == 1
            assert f"{ROOT}.77" in [one.uid for one in archive.search_series()]
            missing = asked({"StudyInstanceUID": uid, "series": [{"SeriesInstanceUID": "1.2.3"}]}, transaction="M",
                            inputResources=[ALGORITHM, web])  # fmt: skip
            post(here, missing)
            gone, = queued(here)
            with pytest.raises(Exception, match=r"series 1\.2\.3 is not in the archive"):
                run(here, gone)


def test_an_archive_that_is_away_fails_and_can_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("ailab_kernel.adapter.running.serving._ROUND_S", 3600.0)
    with house(tmp_path, pacs="dicomweb+http://127.0.0.1:9/dicom-web") as here:
        source = {"interface": "DICOMweb", "connectionDetails": {"name": "pacs"}}
        post(here, asked(study(), inputResources=[ALGORITHM, source]))
        work, = queued(here)
        with pytest.raises(Exception, match=r"127\.0\.0\.1:9"):
            run(here, work)
        found = Worklist(here.ledger).get(work.id)
        assert found.state == "failed"
        code, said = curl(here, f"/again/{work.id}", "-X", "POST", who="desk")
        assert (code, json.loads(said)["state"]) == (200, "queued")
        assert Outbox(here.ledger).all() == []
