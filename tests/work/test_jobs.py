"""Durable jobs: one job once, each ended with its reason, whatever is killed in between; SQLite and PostgreSQL."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ailab_kernel.ground.errors import JobError, NotFound
from ailab_kernel.work.jobs import TRIES, Jobs
from tests.databases import postgres

ROOT = Path(__file__).parents[2]
KINDS = {"log": "tests.work.tasks:log", "die": "tests.work.tasks:die", "gone": "tests.work.tasks:no_such_thing"}
WORKER = "import sys; from ailab_kernel.work.jobs import Jobs; Jobs(sys.argv[1], kinds={}).work(worker=sys.argv[2])"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.sqlite'}"
        return
    with postgres() as found:
        yield found


@pytest.fixture
def jobs(url) -> Jobs:
    return Jobs(url, kinds=KINDS)


@pytest.fixture
def lines(tmp_path):
    """The log that the jobs write."""
    path = tmp_path / "log"
    path.touch()
    return path


def start(url: str, name: str = "worker") -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WORKER, url, name], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def work(url: str) -> int:
    """A worker until the queue is empty; it says nothing on standard error unless it is killed."""
    process = start(url)
    _, told = process.communicate(timeout=90)
    assert told == "" or process.returncode
    return process.returncode


def wait_for(condition, seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def test_every_job_ends_done_failed_or_held(url, jobs, lines):
    good = jobs.submit("log", {"n": 1, "log": str(lines)})
    ours = jobs.submit("log", {"n": 2, "log": str(lines), "bad": "ours"})
    theirs = jobs.submit("log", {"n": 3, "log": str(lines), "bad": "theirs"})
    gone = jobs.submit("gone", {})
    held = jobs.submit("log", {"n": 4, "log": str(lines)})
    jobs.cancel(held)
    assert [job.state for job in jobs.all()] == ["queued"] * 4 + ["held"]
    assert [job.id for job in jobs.all()] == [good, ours, theirs, gone, held]
    assert work(url) == 0
    assert [(job.state, job.reason) for job in jobs.all()] == [
        ("done", ""), ("failed", "series 1.2.3 has a gap"), ("failed", "log ended with ValueError"),
        ("failed", "gone ended with AttributeError"), ("held", "taken out of the queue"),
    ]  # fmt: skip
    assert [job.kind for job in jobs.all()] == ["log", "log", "log", "gone", "log"]
    assert jobs.get(good).result == 1
    assert "start 4" not in lines.read_text()
    jobs.cancel(good)
    assert jobs.get(good).state == "done", "what is done stays done"


def test_the_same_job_is_one_job(url, jobs, lines):
    payload = {"n": 1, "log": str(lines)}
    one = jobs.submit("log", payload)
    assert jobs.submit("log", dict(reversed(payload.items()))) == one
    assert jobs.submit("log", {**payload, "n": 2}) != one
    assert jobs.submit("log", payload, key="again") != one
    assert jobs.submit("log", {**payload, "n": 9}, key="again") == jobs.submit("log", payload, key="again")
    assert work(url) == 0
    assert jobs.submit("log", payload) == one
    assert jobs.get(one).state == "done", "and it stays done"
    assert lines.read_text().count("start 1") == 2, "once for each of its two keys"
    assert len(jobs.all()) == 3


def test_what_is_urgent_goes_first(url, jobs, lines):
    for number, priority in ((1, 100), (2, 10), (3, 0), (4, 1), (5, 10)):
        jobs.submit("log", {"n": number, "log": str(lines)}, priority=priority)
    assert work(url) == 0
    assert re.findall("start (.)", lines.read_text()) == list("34251")


def test_killed_in_the_middle_and_taken_up_again(url, jobs, lines):
    first = jobs.submit("log", {"n": 1, "log": str(lines), "sleep": 1.5})
    second = jobs.submit("log", {"n": 2, "log": str(lines)})
    process = start(url)
    wait_for(lambda: "start 1" in lines.read_text(), 30, "the job did not start")
    assert jobs.get(first).state == "running"
    with pytest.raises(JobError, match="a worker named 'worker' is at work"):
        jobs.work()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert jobs.get(first).state == "running"
    assert work(url) == 0
    assert [jobs.get(job).state for job in (first, second)] == ["done", "done"]
    told = lines.read_text().splitlines()
    assert told.count("end 1") == told.count("end 2") == 1


def test_what_a_dead_worker_of_another_name_left_is_taken_up(url, jobs, lines):
    left = jobs.submit("log", {"n": 1, "log": str(lines), "sleep": 1.5})
    process = start(url, "one that never comes back")
    wait_for(lambda: "start 1" in lines.read_text(), 30, "the job did not start")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert work(url) == 0
    assert jobs.get(left).state == "done"
    assert lines.read_text().splitlines().count("end 1") == 1


def test_what_a_living_worker_does_is_left_to_it(url, jobs, lines):
    jobs.submit("log", {"n": 1, "log": str(lines), "sleep": 3})
    process = start(url, "busy")
    wait_for(lambda: "start 1" in lines.read_text(), 30, "the job did not start")
    assert work(url) == 0
    process.communicate(timeout=90)
    assert lines.read_text().splitlines().count("start 1") == 1


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_given_up_and_the_queue_goes_on(url, jobs, lines):
    bad = jobs.submit("die", {"log": str(lines)})
    good = jobs.submit("log", {"n": 1, "log": str(lines)})
    ends = []
    while not ends or ends[-1]:
        ends.append(work(url))
        assert len(ends) <= TRIES + 3, "the queue never gets past the bad job"
    assert (jobs.get(bad).state, jobs.get(bad).reason) == ("failed", "its worker died again and again")
    assert lines.read_text().count("die") == TRIES + 1
    assert jobs.get(good).state == "done"


def test_wrong_questions_are_named(jobs):
    with pytest.raises(JobError, match="job kind 'train': one of die, gone, log is expected"):
        jobs.submit("train", {})
    for act in (jobs.get, jobs.cancel):
        with pytest.raises(NotFound, match=r"no job 12345 \(ailab jobs list\)"):
            act("12345")
    assert jobs.all() == []


def test_a_worker_starts_again_where_standard_error_was_another_the_first_time(tmp_path, lines, monkeypatch):
    jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.sqlite'}", kinds=KINDS)
    closed = (tmp_path / "stderr").open("w")
    monkeypatch.setattr(logging.getLogger("dbos"), "handlers", [logging.StreamHandler(closed)])
    closed.close()
    jobs.submit("log", {"log": str(lines), "n": 1})
    jobs.work()
    assert [job.state for job in jobs.all()] == ["done"]
