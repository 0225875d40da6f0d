"""Heartbeats: renewed while work goes on, gone when it ends, and never to be trusted further than they go."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ailab_kernel.ground.activity import Beat, beats, busy, follow, tell, told


def write(folder, name="1.json", **changes):
    now = time.time()
    path = folder / name
    path.write_text(json.dumps({"kind": "report", "what": "validate", "since": now, "until": now + 60} | changes))
    return path


def wait_for(what, seconds=10):
    until = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def test_work_beats_while_it_goes_on_and_not_after(tmp_path):
    with busy("report", "validate heart-wall@1", folder=tmp_path, lasts=0.3):
        first = wait_for(lambda: beats(tmp_path))[0]
        time.sleep(0.5)
        later = beats(tmp_path)[0]
        assert (later.kind, later.what) == ("report", "validate heart-wall@1")
        assert later.until > first.until, "renewed"
        assert later.since == first.since
    assert beats(tmp_path) == ()
    assert not list(tmp_path.iterdir())


def test_without_a_hub_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("AILAB_ACTIVITY", raising=False)
    monkeypatch.chdir(tmp_path)
    with busy("report", "x"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_beat_of_a_killed_program_runs_out(tmp_path):
    code = "import time; from ailab_kernel.ground.activity import busy\nwith busy('report', 'x', lasts=1.0): time.sleep(60)"
    program = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"AILAB_ACTIVITY": str(tmp_path)})
    try:
        assert wait_for(lambda: beats(tmp_path))
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert wait_for(lambda: not beats(tmp_path), seconds=3)


def test_a_beat_far_in_the_future_counts_ten_minutes_at_most(tmp_path):
    path = write(tmp_path, until=time.time() + 10**9)
    assert beats(tmp_path)
    old = time.time() - 601
    os.utime(path, (old, old))
    assert beats(tmp_path) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 5000, '{"kind": 1, "what": 2, "since": "x", "until": 3}', "x" * 9999])
def test_what_is_no_beat_is_passed_over(tmp_path, text):
    (tmp_path / "0.json").write_text(text)
    write(tmp_path)
    assert [one.what for one in beats(tmp_path)] == ["validate"]


def test_links_and_pipes_are_not_followed(tmp_path):
    real = write(tmp_path, "real.txt")
    (tmp_path / "link.json").symlink_to(real)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    assert beats(tmp_path) == ()
    assert beats(tmp_path / "nothing") == ()


def test_long_words_are_cut(tmp_path):
    write(tmp_path, what="w" * 1000)
    assert isinstance(beats(tmp_path)[0], Beat)
    assert len(beats(tmp_path)[0].what) == 120


def test_the_newest_notices_are_kept_and_may_be_read(tmp_path):
    file = tmp_path / "anna.json"
    for number in range(7):
        tell(file, f"line {number}", at=float(number))
    assert [one.text for one in told(file)] == [f"line {number}" for number in range(2, 7)]
    assert file.stat().st_mode & 0o777 == 0o644
    assert told(tmp_path / "nobody.json") == ()


class Events:
    def __init__(self):
        self.calls = {}

    def register(self, name, call):
        self.calls[name] = call


class Shell:
    def __init__(self):
        self.events = Events()


def test_a_cell_beats_and_a_notice_is_printed_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AILAB_ACTIVITY", str(tmp_path / "beats"))
    monkeypatch.setenv("AILAB_NOTICES", str(tmp_path / "anna.json"))
    tell(tmp_path / "anna.json", "an old story", at=time.time() - 3600)
    shell = Shell()
    tell(tmp_path / "anna.json", "out of memory")
    follow(shell)
    shell.events.calls["pre_run_cell"](None)
    assert wait_for(lambda: beats(tmp_path / "beats"))[0].kind == "kernel"
    shell.events.calls["post_run_cell"](None)
    assert beats(tmp_path / "beats") == ()
    assert capsys.readouterr().err == "AI-LAB: out of memory\n"
    shell.events.calls["pre_run_cell"](None)
    shell.events.calls["post_run_cell"](None)
    assert capsys.readouterr().err == ""
