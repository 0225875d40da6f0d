"""From arrivals to results: what is queued when, what a failing run leaves, and that each result goes out once."""

import json
import socket
import time
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import Delivery, Ledger, Outbox, Work, Worklist
from ailab_kernel.adapter.ledger.deliveries import wait_s
from ailab_kernel.adapter.looking import Dispatcher
from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.receive import Caller, Callers, Inbox, Place, Receiver
from ailab_kernel.adapter.receive.inbox import Label
from ailab_kernel.adapter.rules import Destination, read_plan
from ailab_kernel.adapter.running import Courier, Notary
from ailab_kernel.adapter.working import run_work, worker
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.ground.errors import JobError, WrongUse
from ailab_kernel.workspace import open_workspace
from tests.adapter.receiving import AE, CT, ROOT, dcmtk, files, image
from tests.services import orthanc

PLAN = """
[[caller]]
ae = "*"
[[destination]]
name = "pacs"
url = "folder:{far}"
[[rule]]
name = "ct"
run = "{run}"
when = {{Modality = "CT"}}
complete = {{quiet_s = 30, at_most_s = 600}}
send = ["pacs"]
minutes = 10
"""
HERE = "tests.adapter.test_running"


def copy_one(payload):
    """Stands for a model: its result is a copy of an instance in a series of its own."""
    folder = Path(payload["archive"].removeprefix("folder:"))
    source = next(folder.glob("*/*/*.dcm"))
    made = image(90, SeriesInstanceUID=f"{ROOT}.77", SOPInstanceUID=f"{ROOT}.77.1")
    target = folder / source.parent.parent.name / f"{ROOT}.77" / f"{ROOT}.77.1.dcm"
    target.parent.mkdir(exist_ok=True)
    made.save_as(target, enforce_file_format=True)
    return {"objects": [[target.stem, str(target)]], "report": "", "seconds": {"infer": 0.1}}


def die(payload):
    import os

    with Path(payload["home"], "tried").open("a") as file:
        file.write("x")
    os.abort()


def refuse(payload):
    msg = "this study has no such thing"
    raise WrongUse(msg)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter.toml").write_text(PLAN.format(far=tmp_path / "far", run="infer"))
    monkeypatch.setattr(worker, "_FIRST_WAIT_S", 0.01)
    return open_workspace(home=tmp_path / "lab")


def arrive(inbox, tmp_path, *images):
    for path in files(tmp_path / "in", *images):
        data = path.read_bytes()
        start = 144 + int.from_bytes(data[140:144], "little")
        incoming = inbox.begin(Label(CT, data_uid(path), "1.2.840.10008.1.2.1", "SCANNER@127.0.0.1"))
        incoming.write(memoryview(data)[start:])
        assert incoming.finish() == ("kept", None)


def data_uid(path):
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def looks(inbox, lab, now):
    """One look: the work that comes of it, and what was queued."""
    queued = []
    plan = read_plan(lab.home.parent / "adapter.toml")
    made = Dispatcher(inbox, plan, queued.append, audit=lab.catalog.audit).look(now)
    return made, queued


def trail(lab, event):
    """Details of the trail's lines of one kind."""
    return [json.loads(str(line["detail"])) for line in lab.catalog.audit_trail() if line["event"] == event]


def test_a_study_is_queued_once_it_is_quiet_and_again_when_more_comes(lab, tmp_path):
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1), image(2))
        came = time.time()
        assert looks(inbox, lab, came + 1) == ([], [])
        (work,), (queued,) = looks(inbox, lab, came + 31)
        assert (work.state, work.rule, work.told["instances"], queued.id) == ("queued", "ct", 2, work.id)
        assert looks(inbox, lab, came + 32) == ([], [])
        assert trail(lab, "adapter.received") == [{"study": f"{ROOT}.1", "instances": "2", "sender": "SCANNER"}]
        arrive(inbox, tmp_path, image(3))
        (more,), _ = looks(inbox, lab, came + 99)
        assert (more.told["instances"], more.id == work.id) == (3, False)


def test_what_never_becomes_whole_is_held_and_what_no_rule_wants_is_said(lab, tmp_path):
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1), image(2, study=2, Modality="US"))
        came = time.time()
        plan = tmp_path / "adapter.toml"
        plan.write_text(plan.read_text().replace("quiet_s = 30", 'quiet_s = 30, count = "archive"'))
        assert looks(inbox, lab, came + 100)[0][0].reason == "no rule is for it"
        held, = looks(inbox, lab, came + 700)[0]
        assert (held.state, held.reason) == ("held", "never became whole: 1 instances came")
        assert [one.state for one in Worklist(inbox.ledger).all()] == ["done", "held"]


def started(inbox, lab, tmp_path, function, monkeypatch) -> Work:
    monkeypatch.setattr(worker, "_PERFORM", f"{HERE}:{function}")
    arrive(inbox, tmp_path, image(1), image(2))
    (work,), _ = looks(inbox, lab, time.time() + 31)
    return work


def run(lab, work):
    return run_work({"home": str(lab.home), "plan": str(lab.home.parent / "adapter.toml"), "work": work.id})


def test_results_go_out_once_and_are_confirmed(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "copy_one", monkeypatch)
        assert run(lab, work) == {"state": "delivering"}
        assert run(lab, work) == {"state": "delivering"}      # called again after a kill
        courier = Courier(inbox.ledger, (Destination("pacs", f"folder:{tmp_path / 'far'}"),), lab.catalog.audit)
        assert courier.round() == 1
        assert courier.round() == 0
        assert trail(lab, "adapter.delivered") == [{"study": f"{ROOT}.1", "instances": "1", "destinations": "pacs"}]
        assert Worklist(inbox.ledger).get(work.id).state == "done"
        far = open_archive(f"folder:{tmp_path / 'far'}")
        assert [one.uid for one in far.search_series()] == [f"{ROOT}.77"]
        assert [one.state for one in Outbox(inbox.ledger).all()] == ["confirmed"]


def test_poison_is_tried_three_times_and_then_failed(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "die", monkeypatch)
        with pytest.raises(JobError, match="its process died"):
            run(lab, work)
        found = Worklist(inbox.ledger).get(work.id)
        assert (found.state, found.reason) == ("failed", "its process died (signal 6); tried 3 times")
        assert (lab.home / "tried").read_text() == "xxx"


def test_what_cannot_be_done_is_said_at_once(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "refuse", monkeypatch)
        with pytest.raises(JobError):
            run(lab, work)
        assert Worklist(inbox.ledger).get(work.id).reason == "this study has no such thing"


def test_a_destination_that_is_away_is_tried_later_and_keeps_no_other_waiting(lab, tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    path, = files(tmp_path / "out", image(1))
    outbox, now = Outbox(ledger), time.time()
    Worklist(ledger).offer(Work("w", "1", "r", "delivering", "", now, now, now + 60))
    outbox.put("w", [(f"{ROOT}.1.1.1", path)], ["near", "away"])
    courier = Courier(ledger, (Destination("near", f"folder:{tmp_path / 'near'}"),
                               Destination("away", "dicomweb+http://127.0.0.1:9/dicom-web")))  # fmt: skip
    assert courier.round(now) == 1
    away, = outbox.all(destination="away")
    assert (away.state, away.tries) == ("pending", 1)
    assert away.not_before > now + 1.5
    assert courier.round(now) == 0             # not before its time
    assert outbox.all(destination="away")[0].tries == 1
    late, = Worklist(ledger).hold_overdue(now + 61)
    assert (late.state, late.reason) == ("held", "not ended in time: it was delivering.")
    back = Courier(ledger, (Destination("away", f"folder:{tmp_path / 'back'}"),))
    assert back.round(now + 100) == 1
    assert Worklist(ledger).get("w").state == "done"
    ledger.close()


def test_what_a_person_holds_does_not_leave(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    path, = files(tmp_path / "out", image(1))
    worklist, now = Worklist(ledger), time.time()
    worklist.offer(Work("w", "1", "r", "delivering", "", now, now, now + 60))
    Outbox(ledger).put("w", [(f"{ROOT}.1.1.1", path)], ["near"])
    worklist.move("w", "held", reason="wrong protocol")
    courier = Courier(ledger, (Destination("near", f"folder:{tmp_path / 'near'}"),))
    assert courier.round(now) == 0
    worklist.move("w", "delivering")
    assert courier.round(now) == 1
    assert worklist.get("w").state == "done"
    ledger.close()


def test_what_is_refused_for_good_is_failed_and_can_be_sent_again(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    first, = files(tmp_path / "a", image(1))
    other, = files(tmp_path / "b", image(1, InstanceNumber=9))
    far, now = f"folder:{tmp_path / 'far'}", time.time()
    Courier(ledger, ())
    from pydicom import dcmread

    open_archive(far).store([dcmread(first)])
    outbox, courier = Outbox(ledger), Courier(ledger, (Destination("far", far),))
    Worklist(ledger).offer(Work("w", "1", "r", "delivering", "", now, now, now + 6000))
    outbox.put("w", [(f"{ROOT}.1.1.1", other)], ["far"])
    for number in range(5):
        courier.round(now + 1000 * number)
    work = Worklist(ledger).get("w")
    assert work.state == "failed"
    assert "already stored with other content" in work.reason
    assert outbox.again("w") == 1
    assert outbox.all()[0].state == "pending"
    ledger.close()


def test_a_destination_that_cannot_be_opened_keeps_no_other_from_ending(tmp_path):
    """A folder that is a file, and a result that is gone: told, tried a few times, and failed; the other one is done."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    (tmp_path / "file").write_text("no folder")
    path, = files(tmp_path / "out", image(1))
    outbox, worklist, now = Outbox(ledger), Worklist(ledger), time.time()
    for work, names, result in (("a", ["file"], path), ("b", ["near"], path), ("c", ["near"], tmp_path / "gone.dcm")):
        worklist.offer(Work(work, "1", "r", "delivering", "", now, now, now + 9e9))
        outbox.put(work, [(f"{ROOT}.1.1.1", result)], names)
    courier = Courier(ledger, (Destination("near", f"folder:{tmp_path / 'near'}"),
                               Destination("file", f"folder:{tmp_path / 'file'}")))  # fmt: skip
    for number in range(5):
        courier.round(now + 1000 * number)
    assert {one.id: one.state for one in worklist.all()} == {"a": "failed", "b": "done", "c": "failed"}
    assert "needs a folder" in worklist.get("a").reason
    ledger.close()


def test_waits_double_up_to_a_quarter_of_an_hour():
    assert [wait_s(number) for number in (1, 2, 3, 20)] == [2, 4, 8, 900]


def test_a_state_follows_only_what_it_may(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    worklist = Worklist(ledger)
    worklist.offer(Work("w", "1", "r", "done", "", 0, 0, 0))
    with pytest.raises(WrongUse, match="work w is done: it cannot become running"):
        worklist.move("w", "running")
    Outbox(ledger).put("w", [("1.2", Path("x"))], ["a"])
    assert Outbox(ledger).all() == [Delivery("1.2", "a", "w", "x", changed_at=Outbox(ledger).all()[0].changed_at)]
    ledger.close()


def test_a_request_for_storage_commitment_of_empty_items_is_not_read(tmp_path):
    import resource

    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    items = b"\x08\x00\x99\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 131_000 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    with Inbox(tmp_path / "inbox", ledger) as inbox:
        notary = Notary(inbox, Callers(AE, (Caller("ORTHANC", reply="127.0.0.1:9"),)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert notary.take(items, "1.2.840.10008.1.2.1", "ORTHANC") == 0x0110
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    ledger.close()


def test_storage_commitment_asked_by_orthanc(tmp_path):
    """Orthanc asks, is called back, and shows what it was told: kept, unknown, another class, changed on the disk."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with orthanc(tmp_path / "orthanc", destinations={AE: port}, settings={"DicomAet": "ORTHANC"}) as pacs:
        known = (Caller("SCANNER"), Caller("ORTHANC", reply=f"127.0.0.1:{pacs.dicom_port}"))
        ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
        with Inbox(tmp_path / "inbox", ledger) as inbox:
            notary = Notary(inbox, Callers(AE, known))
            with Receiver(Place(port=port), inbox, Callers(AE, known), commit=notary.take):
                dcmtk("storescu", port, paths=files(tmp_path / "in", image(1), image(2)))
                changed = inbox.path(ledger.arrivals(uid=f"{ROOT}.1.1.2")[0].content)
                changed.write_bytes(changed.read_bytes()[:-1] + b"\x55")
                uids = [(CT, f"{ROOT}.1.1.1"), (CT, f"{ROOT}.1.1.2"), (CT, "1.2.3"),
                        ("1.2.840.10008.5.1.4.1.1.4", f"{ROOT}.1.1.1")]  # fmt: skip
                wishes = [{"DicomInstances": [{"SOPClassUID": kind, "SOPInstanceUID": uid}]} for kind, uid in uids]
                asked = [pacs.rest(f"/modalities/{AE}/storage-commitment", method="POST", body=wish)["Path"]
                         for wish in wishes]  # fmt: skip
                assert notary.round() == 4
                assert notary.round() == 0
                told = [pacs.rest(path) for path in asked]
        ledger.close()
    assert [one["Status"] for one in told] == ["Success", "Failure", "Failure", "Failure"]
    reasons = [one["Failures"][0]["FailureReason"] for one in told[1:]]
    assert reasons == [0x0110, 0x0112, 0x0119]
