"""Every kind of work keeps a server, its age is announced to whoever works, and each line says when and why."""

import re

import pytest

from ailab_kernel.fleet.culling import WARN_OF_AGE_S, judge
from ailab_kernel.fleet.profiles import Profile
from ailab_kernel.ground.activity import KINDS, Beat, beat, beats

NOW, HOUR = 1_700_000_000.0, 3600.0
SMALL = Profile(name="small", cpus=1, memory_gb=2, idle_minutes=30, max_hours=8)


def verdict(*, age, idle=2 * HOUR, kinds=()):
    working = [Beat(kind, "something", NOW - 60, NOW + 60) for kind in kinds]
    return judge(SMALL, started=NOW - age, active=NOW - idle, beats=working, now=NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_work_keeps_an_idle_server(kind):
    assert verdict(age=3 * HOUR).act == "stop"
    kept = verdict(age=3 * HOUR, kinds=[kind])
    assert (kept.act, kept.why) == ("keep", f"{kind}: something")


@pytest.mark.parametrize("kinds", [(), KINDS])
def test_whoever_works_is_warned_of_the_age_half_an_hour_before(kinds):
    before = verdict(age=8 * HOUR - WARN_OF_AGE_S - 1, idle=0, kinds=kinds)
    assert before.act == "keep"
    warned = verdict(age=8 * HOUR - WARN_OF_AGE_S, idle=0, kinds=kinds)
    assert warned.act == "warn"
    assert re.fullmatch(r"your server will be stopped at \d\d:\d\d: tier small allows 8 h, also to what runs; save your work",
                        warned.why)
    later = judge(SMALL, started=NOW - 8 * HOUR + WARN_OF_AGE_S, active=NOW + 600, beats=(), now=NOW + 600)
    assert later.why == warned.why, "the line stays the same, so that it is said once"
    assert verdict(age=8 * HOUR, idle=0, kinds=kinds).act == "stop"


def test_what_stops_a_server_says_what_was_kept():
    idle, old = verdict(age=3 * HOUR).why, verdict(age=9 * HOUR, kinds=["report"]).why
    assert re.search(r"stopped at \d\d:\d\d: nobody used it for 30 min and no cell, report or GPU was at work", idle)
    assert "open notebooks got a checkpoint" in idle
    assert "it had run for 8 h, the most that tier small allows; programs were asked to write where they stand" in old


def test_a_single_beat_replaces_the_one_before_and_runs_out(tmp_path):
    beat("gpu", "40 %", folder=tmp_path / "seen", lasts=30)
    beat("gpu", "60 %", folder=tmp_path / "seen", lasts=30)
    (one,) = beats(tmp_path / "seen")
    assert (one.kind, one.what) == ("gpu", "60 %")
    assert beats(tmp_path / "seen", now=one.until + 1) == ()
