"""Nothing that was acknowledged is lost: torn ends, damage, two writers, kill -9."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ailab_kernel.annotation.session.journal import Journal, read_records
from ailab_kernel.ground.errors import AnnotationError, JournalDamaged, SessionTaken
from tests.conftest import FULL_BATTERY

RECORDS = [b"first", b"a longer second record" * 20, b"\0" * 40, b"fourth"]
HOLD = """
import sys, time
from pathlib import Path
from ailab_kernel.annotation.session.journal import Journal
journal = Journal(Path(sys.argv[1]), who="reader-other")
journal.append(b"theirs")
print("open", flush=True)
sys.stdin.readline()
try:
    journal.append(b"too late")
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""
WRITE = """
import sys
from pathlib import Path
from ailab_kernel.annotation.session.journal import Journal
journal = Journal(Path(sys.argv[1]), who="reader-1")
number = len(journal.records)
while True:
    journal.append(b"%d " % number + b"x" * (number * 37 % 3000))
    sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
    number += 1
"""


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "one.strokes", who="reader-1")
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return journal.path


def reopened(path) -> list[bytes]:
    journal = Journal(path, who="reader-1")
    journal.close()
    return journal.records


def test_records_come_back_in_order_and_more_follow(path):
    assert reopened(path) == RECORDS
    journal = Journal(path, who="reader-1")
    journal.append(b"fifth")
    journal.close()
    assert reopened(path) == [*RECORDS, b"fifth"]
    with pytest.raises(SessionTaken, match="closed"):
        journal.append(b"sixth")


def test_a_torn_end_of_any_length_is_cut_off_and_kept_aside(path):
    data = path.read_bytes()
    ends = [read_records(data[:size])[2] for size in range(16, len(data) + 1)]
    for size in [*range(0, 60, 3), *range(60, len(data), 61), len(data) - 1]:
        path.write_bytes(data[:size])
        whole = reopened(path)
        assert whole == RECORDS[: len(whole)]
        assert len(whole) == len({end for end in ends if 16 < end <= size})
        journal = Journal(path, who="reader-1")
        journal.append(b"after")
        journal.close()
        assert reopened(path) == [*whole, b"after"]
    assert list(path.parent.glob("*.torn-*"))


def test_zeros_that_a_power_loss_left_at_the_end_are_cut_off(path):
    with path.open("ab") as file:
        file.write(bytes(5000))
    assert reopened(path) == RECORDS


@pytest.mark.parametrize("at", [20, 25, 60, 480])
def test_damage_in_the_middle_is_told_and_nothing_changed(path, at):
    data = bytearray(path.read_bytes())
    data[at + 8] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamaged, match=r"record \d of the journal is damaged|no journal"):
        Journal(path, who="reader-1")
    assert path.read_bytes() == data


def test_a_file_of_another_kind_is_left_alone(tmp_path):
    other = tmp_path / "one.strokes"
    other.write_bytes(b"something else")
    with pytest.raises(JournalDamaged, match="no journal"):
        Journal(other, who="reader-1")
    assert other.read_bytes() == b"something else"


def test_a_full_disk_is_told_and_leaves_the_journal_whole(path, monkeypatch):
    journal = Journal(path, who="reader-1")
    whole = os.pwrite

    def full(handle, data, at):
        whole(handle, bytes(data)[:7], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(AnnotationError, match="No space left"):
        journal.append(b"lost")
    monkeypatch.undo()
    journal.append(b"kept")
    journal.close()
    assert reopened(path) == [*RECORDS, b"kept"]


def child(code, path, **kwargs):
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kwargs)


def test_one_writer_and_a_take_over(path):
    other = child(HOLD, path)
    assert other.stdout.readline() == "open\n"
    with pytest.raises(SessionTaken, match=rf"reader-other, process {other.pid} on .* take_over=True"):
        Journal(path, who="reader-1")
    journal = Journal(path, who="reader-1", take_over=True)
    assert journal.records == [*RECORDS, b"theirs"]
    journal.append(b"ours")
    said = other.communicate("go\n", timeout=30)[0]
    assert said.startswith("SessionTaken this session was taken over by reader-1")
    journal.close()
    assert reopened(path) == [*RECORDS, b"theirs", b"ours"]


def test_the_same_process_opens_anew_without_asking(path):
    first = Journal(path, who="reader-1")
    second = Journal(path, who="reader-1")
    second.append(b"new")
    with pytest.raises(SessionTaken, match="taken over"):
        first.append(b"old")
    first.close()
    second.append(b"newer")
    second.close()
    assert reopened(path) == [*RECORDS, b"new", b"newer"]


@pytest.mark.battery
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    path, chance, acknowledged = tmp_path / "killed.strokes", random.Random(11), -1
    for _ in range(50 if FULL_BATTERY else 6):
        program = child(WRITE, path)
        first = program.stdout.readline()
        time.sleep(chance.uniform(0, 0.12))
        os.kill(program.pid, signal.SIGKILL)
        rest = program.communicate()[0].split("\n")
        said = [int(line) for line in [first.strip(), *rest[:-1]]]
        assert said[0] == acknowledged + 1 or said[0] == acknowledged + 2
        acknowledged = said[-1]
        numbers = [int(record.split()[0]) for record in reopened(path)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) - 1 in {acknowledged, acknowledged + 1}, "at most the one in flight is there as well"
        acknowledged = len(numbers) - 1
