"""Nothing is stuck and nothing is done on more than it says: studies that grow, jobs that end unsaid, two of one result."""

import time
from dataclasses import replace

import pytest

from ailab_kernel.adapter.ledger import Outbox, Worklist
from ailab_kernel.adapter.looking import Listed
from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.rules import Destination
from ailab_kernel.adapter.running import Courier
from ailab_kernel.adapter.working import Overseer, jobs_of, run_work, submit, worker
from ailab_kernel.adapter.working.worker import job_of
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.ground.errors import JobError
from tests.adapter.receiving import ROOT, image
from tests.adapter.test_running import arrive, lab, looks, run, started

__all__ = ["lab"]
OURS = "tests.adapter.test_unforeseen"


def break_down(payload):
    msg = "something that nobody thought of"
    raise ZeroDivisionError(msg)


def test_what_is_queued_for_less_of_a_study_gives_way_to_the_whole(lab, tmp_path):
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1), image(2))
        came = time.time()
        (less,), _ = looks(inbox, lab, came + 31)
        arrive(inbox, tmp_path, image(3))
        (more,), queued = looks(inbox, lab, came + 99)
        assert [one.id for one in queued] == [more.id]
        found = Worklist(inbox.ledger).get(less.id)
        assert (found.state, found.reason) == ("done", f"more of the study came: {more.id} is done instead")
        assert run(lab, less) == {"state": "done"}


def test_work_that_has_begun_is_done_on_what_it_says_and_not_on_what_came_since(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "copy_one", monkeypatch)
        time.sleep(0.01)
        arrive(inbox, tmp_path, image(3))
        run(lab, work)
        there = sorted(path.stem for path in (lab.home / "adapter" / "work" / work.id / f"{ROOT}.1" / f"{ROOT}.1.1").iterdir())
        assert there == [f"{ROOT}.1.1.1", f"{ROOT}.1.1.2"]


def test_two_pieces_of_work_with_the_same_result_are_both_done_and_it_is_there_once(lab, tmp_path, monkeypatch):
    far = f"folder:{tmp_path / 'far'}"
    with inbox_of(lab) as inbox:
        first = started(inbox, lab, tmp_path, "copy_one", monkeypatch)
        second = Worklist(inbox.ledger).offer(replace(first, id="asked-for-again"))
        for one in (first, second):
            assert run(lab, one) == {"state": "delivering"}
        Courier(inbox.ledger, (Destination("pacs", far),)).round()
        assert {one.state for one in Worklist(inbox.ledger).all()} == {"done"}
        assert len(Outbox(inbox.ledger).all()) == 2
        assert sum(one.instances for one in open_archive(far).search_series()) == 1


def test_a_job_that_ends_without_a_word_is_failed_with_its_reason(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "copy_one", monkeypatch)
        monkeypatch.setattr(worker, "gathered", lambda *_, **__: break_down({}))
        submit(lab, tmp_path / "adapter.toml", work)
        jobs_of(lab).work()
        assert Worklist(inbox.ledger).get(work.id).state == "running"
        assert jobs_of(lab).get(job_of(work)).state == "failed"
        overseer = Overseer(inbox.ledger, jobs_of(lab))
        assert overseer.round() == []          # it may still be about to say so
        lost, = overseer.round(time.time() + 60)
        assert (lost.state, lost.reason) == ("failed", "adapter ended with ZeroDivisionError")
        assert overseer.round(time.time() + 120) == []


def test_what_is_under_way_is_left_alone_and_what_the_queue_has_lost_is_said(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "copy_one", monkeypatch)
        submit(lab, tmp_path / "adapter.toml", work)
        Worklist(inbox.ledger).move(work.id, "running")
        assert Overseer(inbox.ledger, jobs_of(lab)).round(time.time() + 60) == []
        unknown = Worklist(inbox.ledger).offer(replace(work, id="nobody", state="running"))
        (lost,) = Overseer(inbox.ledger, jobs_of(lab)).round(time.time() + 60)
        assert (lost.id, lost.reason) == (unknown.id, "it is no longer in the queue")


def test_a_failed_run_says_so_itself(lab, tmp_path, monkeypatch):
    with inbox_of(lab) as inbox:
        work = started(inbox, lab, tmp_path, "break_down", monkeypatch)
        monkeypatch.setattr(worker, "_PERFORM", f"{OURS}:break_down")
        with pytest.raises(JobError):
            run_work({"home": str(lab.home), "plan": str(tmp_path / "adapter.toml"), "work": work.id})
        assert Worklist(inbox.ledger).get(work.id).state == "failed"


def test_the_archives_count_is_that_of_the_images(tmp_path):
    far = f"folder:{tmp_path / 'far'}"
    listed = Listed((Destination("ris", "mllp://127.0.0.1:9"), Destination("away", "dicomweb+http://127.0.0.1:9/dicom-web"),
                     Destination("pacs", far)))
    assert counted(listed) is None
    open_archive(far).store([image(1), image(2), image(9, Modality="SEG", SeriesInstanceUID=f"{ROOT}.5")])
    assert listed(f"{ROOT}.1") is None         # an answer is good for a while
    assert counted(Listed(listed.destinations)) == 2


def counted(listed):
    """What is answered in the end."""
    end = time.monotonic() + 30
    while f"{ROOT}.1" not in listed._known and time.monotonic() < end:
        listed(f"{ROOT}.1")
        time.sleep(0.02)
    return listed(f"{ROOT}.1")


def test_a_study_whose_file_is_gone_is_failed_and_keeps_no_other_waiting(lab, tmp_path):
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1))
        lost, = inbox.ledger.arrivals()
        arrive(inbox, tmp_path, image(2, study=2))
        inbox.path(lost.content).unlink()
        made, queued = looks(inbox, lab, time.time() + 31)
        assert [(one.study_uid, one.state) for one in made] == [(f"{ROOT}.1", "failed"), (f"{ROOT}.2", "queued")]
        assert "FileNotFoundError" in made[0].reason
        assert [one.study_uid for one in queued] == [f"{ROOT}.2"]
        assert looks(inbox, lab, time.time() + 99) == ([], [])
