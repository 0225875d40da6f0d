"""A session is what its journal says: replayed, sent twice, taken back, cut short by kill -9."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

from ailab_kernel.annotation.drawing import Operation, Patch
from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.ground.errors import AnnotationError, WrongUse
from ailab_kernel.volumes.masks import Label, Mask
from tests.conftest import FULL_BATTERY

CANARY = make_canary()
LABELS = (*CANARY.mask.labels, Label(2, "other", CANARY.mask.labels[0].code))
CASE = Case("task", CANARY.volume.series_uid, "reader-1", LABELS)


@pytest.fixture
def opened(tmp_path):
    def opened(**asked):
        return Session(tmp_path, CANARY.volume, case=asked.pop("case", CASE), **asked)

    return opened


def stroke(chance: random.Random) -> tuple[dict, bytes]:
    axis = chance.choice([-1, 0, 1, 2])
    shape = CANARY.volume.grid.shape
    points = np.array([[chance.uniform(0, size) for size in shape] for _ in range(chance.randint(1, 4))], "<f4")
    index = chance.randrange(shape[axis]) if axis >= 0 else 0
    if axis >= 0:
        points[:, axis] = index
    return {"tool": "brush", "label": chance.randint(0, 2), "axis": axis, "index": index, "radius_mm": chance.uniform(0.5, 8),
            "locked": chance.choice([[], [2]]), "within": None}, points.tobytes()


class Hand:
    """What a browser sends, numbered; ``masks`` holds what stood after each message, by a stack of whole copies."""

    def __init__(self, seed: int) -> None:
        self.chance, self.sent, self.done, self.undone = random.Random(seed), [], [np.zeros(CANARY.volume.grid.shape, np.uint8)], []

    def next(self, session: Session) -> None:
        kind = self.chance.choices(["draw", "undo", "redo"], [6, 3, 2])[0]
        operation, points = stroke(self.chance) if kind == "draw" else ({}, b"")
        message = {"client": "tab", "number": len(self.sent) + 1, "kind": kind, "operation": operation}
        self.sent.append((message, points))
        done = session.do(message, points)
        if kind == "draw":
            self.done.append(session.array.copy())
            self.undone.clear()
        elif kind == "undo" and len(self.done) > 1:
            self.undone.append(self.done.pop())
        elif kind == "redo" and self.undone:
            self.done.append(self.undone.pop())
        else:
            assert "nothing to" in done.said

    @property
    def mask(self) -> np.ndarray:
        return self.done[-1]


@pytest.mark.parametrize("seed", range(4))
def test_undo_redo_and_reopening_at_any_time_give_the_same_mask(opened, seed):
    hand, session = Hand(seed), opened()
    for number in range(60):
        hand.next(session)
        assert np.array_equal(session.array, hand.mask)
        if number % 7 == seed:
            session.checkpoint()
        if number % 10 == 9:
            session.journal.close() if number % 20 == 9 else session.close()
            session = opened()
            assert np.array_equal(session.array, hand.mask)
    while session.can_undo:
        session.do({"client": "other tab", "number": session.expected("other tab"), "kind": "undo"})
    assert not session.array.any()
    session.close()


def test_what_is_sent_twice_changes_nothing_and_a_gap_is_asked_for(opened):
    hand, session = Hand(3), opened()
    for _ in range(20):
        hand.next(session)
    size = session.journal.path.stat().st_size
    for message, points in [*hand.sent, *hand.sent[5:]]:
        session.do(message, points)
    assert session.journal.path.stat().st_size == size
    assert np.array_equal(session.array, hand.mask)
    done = session.do({"client": "tab", "number": 25, "kind": "undo"})
    assert (done.again, session.expected("tab")) == (21, 21)
    session.close()
    again = opened()
    for message, points in hand.sent:
        again.do(message, points)
    assert np.array_equal(again.array, hand.mask)
    again.close()


def test_what_cannot_be_done_takes_its_number_and_says_why(opened):
    session = opened()
    seed = np.array([[3, 0, 0]], "<f4").tobytes()
    fill = {"tool": "fill", "label": 1, "axis": 0, "index": 3, "radius_mm": 0, "locked": [], "within": None}
    assert "open to the edge" in session.do({"client": "a", "number": 1, "kind": "draw", "operation": fill}, seed).said
    assert "one of brush" in session.do({"client": "a", "number": 2, "kind": "draw", "operation": fill | {"tool": "x"}}, seed).said
    assert session.expected("a") == 3
    for wrong in ({}, {"client": "a", "number": 0}, {"client": "", "number": 1}, {"client": "a", "number": "1"}):
        with pytest.raises(WrongUse, match="without its number"):
            session.do(wrong)
    session.close()


def test_a_stroke_that_was_not_kept_is_not_in_the_mask(opened, monkeypatch):
    session = opened()
    operation, points = stroke(random.Random(4))

    def full(record):
        raise AnnotationError("full")

    with monkeypatch.context() as patch:
        patch.setattr(session.journal, "append", full)
        with pytest.raises(AnnotationError):
            session.do({"client": "a", "number": 1, "kind": "draw", "operation": operation | {"label": 1}}, points)
    assert not session.array.any()
    session.do({"client": "a", "number": 1, "kind": "draw", "operation": operation | {"label": 1}}, points)
    assert session.array.any()
    session.close()


def test_a_session_begins_with_a_mask_and_keeps_it(opened):
    session = opened(start=CANARY.mask)
    assert np.array_equal(session.array, CANARY.mask.array)
    session.close()
    session = opened(start=Mask(np.zeros_like(CANARY.mask.array), CANARY.mask.grid, LABELS))
    assert np.array_equal(session.array, CANARY.mask.array), "a session that was begun goes on as it stood"
    session.close()


def test_other_labels_are_another_case(opened):
    opened().close()
    with pytest.raises(AnnotationError, match="other labels"):
        opened(case=Case("task", CASE.series_uid, "reader-1", LABELS[:1]))


def test_a_damaged_checkpoint_is_not_used(opened):
    hand, session = Hand(9), opened()
    for _ in range(12):
        hand.next(session)
    session.close()
    path = session.journal.path.with_suffix(".checkpoint")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = opened()
    assert np.array_equal(again.array, hand.mask)
    again.close()


DRAW = """
import json, sys
from pathlib import Path
from tests.annotation.test_session import CASE, CANARY, Session, stroke
import random
session = Session(Path(sys.argv[1]), CANARY.volume, case=CASE)
print(json.dumps({"kept": session.expected("tab")}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    operation, points = stroke(random.Random(message["number"]))
    session.do(message | {"operation": operation}, points)
    print(json.dumps({"kept": message["number"] + 1}), flush=True)
"""


@pytest.mark.battery
def test_kill_9_of_the_kernel_loses_and_doubles_nothing(opened, tmp_path):
    """A browser that sends again from what was acknowledged, and a kernel that is killed at random points."""
    chance, acknowledged, kills = random.Random(5), 1, 50 if FULL_BATTERY else 3
    for _ in range(kills):
        program = subprocess.Popen([sys.executable, "-c", DRAW, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        kept = json.loads(program.stdout.readline())["kept"]
        assert kept >= acknowledged, "an acknowledged stroke is gone"
        for number in range(max(1, acknowledged - 2), acknowledged + 40):           # some are sent again
            program.stdin.write(json.dumps({"client": "tab", "number": number, "kind": "draw"}) + "\n")
        program.stdin.flush()
        time.sleep(chance.uniform(0, 0.15))
        os.kill(program.pid, signal.SIGKILL)
        said = [json.loads(line)["kept"] for line in program.communicate()[0].split("\n") if line.endswith("}")]
        acknowledged = max([kept, *said])
    session = opened()
    clean = Session(tmp_path / "clean", CANARY.volume, case=CASE)
    for number in range(1, session.expected("tab")):
        operation, points = stroke(random.Random(number))
        clean.do({"client": "tab", "number": number, "kind": "draw", "operation": operation}, points)
    assert session.expected("tab") >= acknowledged > kills
    assert session.edits == session.expected("tab") - 1, "each stroke once"
    assert np.array_equal(session.array, clean.array)
    session.close()
    clean.close()


def clicked(session: Session, place, value: int, *, label: int = 1, client: str = "tab", locked=()):
    return session.do({"client": client, "number": session.expected(client), "kind": "click", "operation": {"label": label, "value": value, "locked": locked}},
                      np.array([place], "<f4").tobytes())


def act(session: Session, kind: str):
    return session.do({"client": "tab", "number": session.expected("tab"), "kind": kind})


def answered(session: Session, bits: np.ndarray):
    """What a helper draws: the whole volume as one patch, other labels kept."""
    patch = Patch(tuple(slice(0, size) for size in bits.shape), bits, "model@1", session.clicks)
    operation = Operation("patch", session.clicked, locked=(2,), patch=patch).head()
    return session.do({"client": "helper", "number": session.expected("helper"), "kind": "draw", "operation": operation}, patch.packed())


def test_clicks_wait_in_the_journal_until_a_proposal_answers_them(opened):
    session, bits = opened(), np.random.default_rng(2).random(CANARY.volume.grid.shape) < 0.3
    operation, points = stroke(random.Random(7))
    session.do({"client": "tab", "number": 1, "kind": "draw", "operation": operation | {"label": 2, "axis": -1, "radius_mm": 8}}, points)
    other = session.array == 2
    clicked(session, (3, 4, 5), 1)
    clicked(session, (3, 9.25, 5), 0)
    session.close()
    session = opened()                                                     # killed between click and answer
    assert session.waiting == session.clicks == ((3, 4, 5, 1), (3, 9.25, 5, 0))
    answered(session, bits)
    wished = np.where(other, 2, bits).astype(np.uint8)
    assert np.array_equal(session.array, wished)
    assert (session.waiting, session.clicks, session.clicked, session.helped_by) == ((), ((3, 4, 5, 1), (3, 9.25, 5, 0)), 1, ("model@1",))
    clicked(session, (6, 6, 6), 1)
    answered(session, ~bits)
    assert len(session.clicks) == 3
    session.journal.close()
    session = opened()                                                     # no model is asked again
    assert np.array_equal(session.array, np.where(other, 2, ~bits))
    assert len(session.clicks) == 3
    act(session, "undo")
    assert np.array_equal(session.array, wished)
    assert len(session.clicks) == 2, "the click went with its answer"
    act(session, "redo")
    assert len(session.clicks) == 3
    act(session, "accept")
    assert session.clicks == ()
    assert act(session, "accept").said == "there is nothing to accept"
    clicked(session, (1, 1, 1), 2, label=2)
    act(session, "undo")                                                   # takes the open question back, no stroke
    assert session.clicks == ()
    assert np.array_equal(session.array, np.where(other, 2, ~bits))
    session.close()
    session = opened()
    assert session.clicks == ()
    assert session.helped_by == ("model@1",)
    session.close()


def test_a_click_for_another_label_is_another_question(opened):
    session = opened()
    clicked(session, (3, 4, 5), 1)
    clicked(session, (3, 4, 6), 2, label=2)
    assert (session.clicks, session.clicked) == (((3, 4, 6, 2),), 2)
    for place, value, label in (((99, 0, 0), 1, 1), ((1, 1, float("nan")), 1, 1), ((1, 1, 1), 2, 1), ((1, 1, 1), 7, 7)):
        assert "the click lies outside" in clicked(session, place, value, label=label).said
    assert "is locked" in clicked(session, (1, 1, 1), 1, locked=[1]).said
    assert "no clicks" in session.do({"client": "tab", "number": session.expected("tab"), "kind": "click", "operation": 3}, b"1").said
    session.close()


@pytest.mark.parametrize("harm", [{"box": [[0, 99], [0, 4], [0, 4]]}, {"box": [[0, 2], [0, 4]]}, {"box": [[0, 2], [3, 3], [0, 4]]}, {"box": 4},
                                  {"clicks": [[1, 2]]}, {"box": [[0, 2], [0, 4], [0, 5]]}])
def test_a_patch_that_does_not_fit_is_refused(opened, harm):
    session, bits = opened(), np.ones((2, 4, 4), bool)
    patch = Patch((slice(0, 2), slice(0, 4), slice(0, 4)), bits, "model@1")
    operation = Operation("patch", 1, patch=patch).head()
    done = session.do({"client": "tab", "number": 1, "kind": "draw", "operation": operation | {"patch": patch.head() | harm}}, patch.packed())
    assert "reload the page" in done.said
    done = session.do({"client": "tab", "number": 2, "kind": "draw", "operation": operation}, zlib.compress(bytes(10**6)))
    assert "does not fit" in done.said
    assert "does not fit" in session.do({"client": "tab", "number": 3, "kind": "draw", "operation": operation}, b"no zlib").said
    assert not session.array.any()
    session.close()


@pytest.mark.parametrize("fault", [ValueError("x"), MemoryError(), IndexError("x"), ZeroDivisionError()])
def test_what_a_library_cannot_do_uses_its_number_up(opened, monkeypatch, fault):
    session = opened()
    operation, points = stroke(random.Random(4))

    def broken(*given):
        raise fault

    monkeypatch.setattr("ailab_kernel.annotation.session.session.apply", broken)
    done = session.do({"client": "a", "number": 1, "kind": "draw", "operation": operation}, points)
    assert type(fault).__name__ in done.said
    assert session.expected("a") == 2
    session.close()
