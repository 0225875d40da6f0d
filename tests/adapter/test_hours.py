"""Off-peak hours: when they begin, that work waits for them, and that it is neither lost nor done twice for it."""

import time
from datetime import datetime
from datetime import time as clock

import pytest

from ailab_kernel.adapter.ledger import Ledger, Work, Worklist
from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.rules import Hours, read_plan
from ailab_kernel.adapter.working import Gate, run_work, worker
from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.workspace import open_workspace
from tests.adapter.receiving import image
from tests.adapter.test_running import HERE, PLAN, arrive, looks

NIGHT, NOON, FREE = Hours(clock(19), clock(7)), Hours(clock(12), clock(13)), Hours(clock(19), clock(7), weekend=True)


def at(day: str, hour: str) -> float:
    """Of a week that begins on Monday, 2 March 2026; day by its name."""
    return datetime.strptime(f"2026-03-0{2 + ['mo', 'tu', 'we', 'th', 'fr', 'sa', 'su'].index(day)} {hour}", "%Y-%m-%d %H:%M").timestamp()


@pytest.mark.parametrize(("hours", "now", "begin"), [
    (NIGHT, ("mo", "18:59"), ("mo", "19:00")), (NIGHT, ("mo", "19:00"), None), (NIGHT, ("tu", "03:00"), None),
    (NIGHT, ("tu", "07:00"), ("tu", "19:00")), (NOON, ("mo", "13:00"), ("tu", "12:00")), (NOON, ("mo", "12:30"), None),
    (NIGHT, ("sa", "10:00"), ("sa", "19:00")), (FREE, ("sa", "10:00"), None), (FREE, ("fr", "10:00"), ("fr", "19:00")),
    (Hours(clock(12), clock(13), weekend=True), ("fr", "14:00"), ("sa", "00:00")),
])  # fmt: skip
def test_when_they_begin(hours, now, begin):
    assert hours.begin(at(*now)) == (at(*begin) if begin else at(*now))


def test_how_long_they_are():
    assert [one.length_s / 3600 for one in (NIGHT, NOON, Hours(clock(0), clock(0)))] == [12, 1, 24]


@pytest.mark.parametrize("words", ['first = "25:00"\nlast = "07:00"', 'first = "19:00"', 'first = "7"\nlast = "8"'])
def test_hours_that_are_none_are_named(tmp_path, words):
    path = tmp_path / "adapter.toml"
    path.write_text(f"[hours]\n{words}\n")
    with pytest.raises(SettingsError, match=r"adapter\.toml: hours\."):
        read_plan(path)


def around(now: float, *, open_now: bool) -> str:
    """``[hours]`` that are open at a moment, or begin in an hour."""
    first, last = (now - 3600, now + 3600) if open_now else (now + 3600, now + 7200)
    return "[hours]\nfirst = \"{:%H:%M}\"\nlast = \"{:%H:%M}\"\n".format(*map(datetime.fromtimestamp, (first, last)))


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "_PERFORM", f"{HERE}:copy_one")
    return open_workspace(home=tmp_path / "lab")


def written(lab, *, open_now: bool, priority: str = "off-peak"):
    path = lab.home.parent / "adapter.toml"
    text = PLAN.format(far=lab.home.parent / "far", run="infer").replace("minutes = 10", f'minutes = 10\npriority = "{priority}"')
    path.write_text(around(time.time(), open_now=open_now) + text)
    return path


def test_work_waits_for_its_hours_and_is_queued_once(lab, tmp_path):
    path, queued = written(lab, open_now=False), []
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1))
        (work,), _ = looks(inbox, lab, time.time() + 31)
        gate = Gate(inbox.ledger, read_plan(path), queued.append)
        for _ in range(3):
            gate.submit(Worklist(inbox.ledger).get(work.id))
        found = Worklist(inbox.ledger).get(work.id)
        assert (found.state, found.told["waits"], found.told["waited"]) == ("queued", True, 1)
        assert found.reason.startswith("waits for off-peak hours, from ")
        assert found.deadline_at > time.time() + 2 * 3600
        assert (gate.round(), queued) == (0, [])
        assert Worklist(inbox.ledger).hold_overdue(time.time() + 3 * 600) == []
        opened = Gate(inbox.ledger, read_plan(written(lab, open_now=True)), queued.append)
        assert (opened.round(), opened.round()) == (1, 0)
        assert [one.id for one in queued] == [work.id]
        assert Worklist(inbox.ledger).get(work.id).reason == ""


def test_work_that_is_pressing_does_not_wait(lab, tmp_path):
    queued = []
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    for number, (priority, told) in enumerate((("urgent", {}), ("normal", {}), ("off-peak", {"priority": 1}))):
        work = Worklist(ledger).offer(Work(f"w{number}", "1", "ct", "queued", "", 0, 0, 9e9, told))
        Gate(ledger, read_plan(written(lab, open_now=False, priority=priority)), queued.append).submit(work)
    assert [one.id for one in queued] == ["w0", "w1", "w2"]
    ledger.close()


def test_what_is_still_queued_when_they_end_waits_for_the_next(lab, tmp_path):
    path = written(lab, open_now=False)
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1))
        (work,), _ = looks(inbox, lab, time.time() + 31)
        payload = {"home": str(lab.home), "plan": str(path), "work": work.id}
        assert run_work(payload) == {"state": "queued"}
        assert Worklist(inbox.ledger).get(work.id).told["waits"] is True
        written(lab, open_now=True)
        assert run_work(payload) == {"state": "delivering"}
