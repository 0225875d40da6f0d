"""Tiers as data, who may have which, whose device it is, and when a server ends."""

import json
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.fleet.culling import judge
from ailab_kernel.fleet.invitations import accept, invite
from ailab_kernel.fleet.leases import Leases, devices_of
from ailab_kernel.fleet.profiles import ROLES, allowed, choose, larger, read_profiles
from ailab_kernel.fleet.rendering import KINDS, render
from ailab_kernel.fleet.sizing import Answers
from ailab_kernel.ground.activity import Beat
from ailab_kernel.ground.errors import SettingsError, WrongUse

TIERS = Path(__file__).parents[2] / "hub_config" / "tiers.yaml"
PROFILES = read_profiles(TIERS.read_text())
PILOT = PROFILES[0]


def test_the_tiers_that_ship_are_the_seeds_four_and_open_as_meant():
    assert [one.name for one in PROFILES] == ["pilot", "small", "medium", "large"]
    assert [one.name for one in allowed(PROFILES, ["student"])] == ["pilot"]
    assert [one.name for one in allowed(PROFILES, ["radiologist", "student"])] == ["pilot", "small"]
    assert [one.name for one in allowed(PROFILES, ["data-scientist"])] == ["pilot", "small", "medium", "large"]
    assert allowed(PROFILES, []) == ()
    assert larger(PROFILES, ["radiologist"], than=PILOT).name == "small"
    assert larger(PROFILES, ["student"], than=PILOT) is None
    assert PROFILES[2].size == "4 cores, 32 GB, 1 GPU"


@pytest.mark.parametrize(("groups", "name", "says"), [
    (["student"], "large", "tier 'large' is not open to your groups; choose one of pilot"),
    (["student"], "huge", "tier 'huge' does not exist; choose one of pilot"),
    ([], "", "no tier is open to you"),
    (["nurse"], "pilot", "no tier is open to you"),
])
def test_a_tier_that_is_not_open_is_refused(groups, name, says):
    with pytest.raises(WrongUse, match=says):
        choose(PROFILES, groups, name=name)


def test_no_name_takes_the_smallest():
    assert choose(PROFILES, ["data-scientist"]).name == "pilot"
    assert choose(PROFILES, ["data-scientist"], name="large").name == "large"


@pytest.mark.parametrize(("text", "says"), [
    ("a: [", "no YAML"), ("", "a mapping of tiers"), ("a: {cpus: 1}", "groups, memory_gb is missing"),
    ("a: {cpus: 1, memory_gb: 1, groups: [], speed: 1}", "unknown speed"),
    ("a: {cpus: 0, memory_gb: 1, groups: []}", "cpus = 0"),
    ("a: {cpus: 1, memory_gb: -1, groups: []}", "memory_gb = -1"),
    ("a: {cpus: 1, memory_gb: 1, groups: [nurse]}", "groups = "),
    ("a: {cpus: 1, memory_gb: 1, groups: [], gpus: 1.5}", "gpus = 1.5"),
    ("a: {cpus: true, memory_gb: 1, groups: []}", "cpus = True"),
    ("a: {cpus: 1, memory_gb: 1, groups: [], gpu_kind: 7}", "gpu_kind = 7"),
    ("a: 7", "is missing"),
])
def test_a_mistake_in_the_tiers_is_named(text, says):
    with pytest.raises(SettingsError, match=says):
        read_profiles(text)


def test_two_people_never_hold_one_device_and_whoever_waits_longest_is_next():
    leases = Leases(devices_of("a100*1"))
    assert [leases.ask(who, 1) for who in ("anna", "ben", "cleo")] == [0, 1, 2]
    assert leases.held("anna") == ("0",)
    leases.release("ben")
    assert leases.place("cleo") == 1
    leases.release("anna")
    assert (leases.held("cleo"), leases.place("cleo"), leases.held("anna")) == (("0",), 0, ())


def test_a_large_wish_is_not_overtaken_for_ever():
    leases = Leases(devices_of("a100*2"))
    leases.ask("anna", 1)
    assert leases.ask("ben", 2) == 1
    assert leases.ask("cleo", 1) == 2, "the free device is kept for ben"
    leases.release("anna")
    assert leases.held("ben") == ("0", "1")


def test_kinds_queue_apart():
    leases = Leases(devices_of("a100*1, t4*1"))
    leases.ask("anna", 1, "a100")
    assert leases.ask("ben", 1, "a100") == 1
    assert leases.ask("cleo", 1, "t4") == 0


def test_more_than_there_is_is_refused_not_queued():
    with pytest.raises(WrongUse, match="2 GPUs of any kind asked for, this machine has 1"):
        Leases(devices_of("a100*1")).ask("anna", 2)
    with pytest.raises(SettingsError, match="KIND\\*COUNT"):
        devices_of("a100")


def test_a_hub_that_starts_again_lends_nothing_twice():
    leases = Leases(devices_of("a100*2"))
    leases.restore("anna", ["1"])
    leases.restore("ben", ["1", "7"])
    assert (leases.held("anna"), leases.held("ben")) == (("1",), ())
    assert leases.ask("cleo", 1) == 0
    assert leases.held("cleo") == ("0",)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=40))
def test_whatever_happens_no_device_is_lent_twice(steps):
    leases = Leases(devices_of("a100*3"))
    for who, count in steps:
        leases.ask(who, count) if count else leases.release(who)
        held = [one for name in "abcd" for one in leases.held(name)]
        assert len(held) == len(set(held)) <= 3
        assert all(not (leases.held(name) and leases.place(name)) for name in "abcd")


HOUR = 3600.0


@pytest.mark.parametrize(("started", "active", "working", "act", "says"), [
    (0.0, 0.0, False, "keep", "used lately"),
    (-HOUR, -24 * 60, False, "keep", "used lately"),
    (-HOUR, -26 * 60, False, "warn", "unless it is used: tier pilot keeps an idle one for 30 min"),
    (-HOUR, -30 * 60, False, "stop", "nobody used it for 30 min"),
    (-HOUR, -30 * 60, True, "keep", "report: validate"),
    (-7.95 * HOUR, 0.0, False, "warn", "tier pilot allows 8 h"),
    (-8 * HOUR, 0.0, True, "stop", "it had run for 8 h"),
    (0.0, -9 * HOUR, False, "keep", "used lately"),
])
def test_idle_servers_end_and_work_keeps_them(started, active, working, act, says):
    now = 1_700_000_000.0
    working = [Beat("report", "validate", now - 60, now + 60)] if working else []
    verdict = judge(PILOT, started=now + started, active=now + active, beats=working, now=now)
    assert (verdict.act, says in verdict.why) == (act, True), verdict


def test_an_invitation_is_private_counts_once_and_runs_out(tmp_path):
    pytest.importorskip("bcrypt")
    made = invite(tmp_path / "in", "anna", role="radiologist")
    path = tmp_path / "in" / "anna.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.password not in path.read_text()
    assert accept(tmp_path / "in", "anna", "wrong") is None
    assert accept(tmp_path / "in", "../in/anna", made.password) is None
    role, hashed = accept(tmp_path / "in", "anna", made.password)
    assert (role, hashed[:4]) == ("radiologist", b"$2b$")
    assert accept(tmp_path / "in", "anna", made.password) is None, "used up"
    made = invite(tmp_path / "in", "ben", role="student")
    late = json.loads((tmp_path / "in" / "ben.json").read_text()) | {"until": time.time() - 1}
    (tmp_path / "in" / "ben.json").write_text(json.dumps(late))
    assert accept(tmp_path / "in", "ben", made.password) is None, "too late"


@pytest.mark.parametrize(("name", "role"), [("../x", "student"), ("Anna", "student"), ("", "student"), ("anna", "boss")])
def test_an_invitation_needs_a_plain_name_and_a_role(tmp_path, name, role):
    with pytest.raises(WrongUse, match="expected"):
        invite(tmp_path, name, role=role)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answers", [Answers(start_small=True), Answers(train="fine-tune"), Answers(train="multiple")])
def test_the_same_answers_render_the_same_bytes(answers):
    for kind in KINDS:
        assert render(kind, answers) == render(kind, answers)
    tiers = read_profiles(render("tiers", answers))
    assert {role for one in tiers for role in one.groups} == set(ROLES)
    with pytest.raises(WrongUse, match="one of tiers, systemd, docker, slurm, kubernetes"):
        render("nomad", answers)
