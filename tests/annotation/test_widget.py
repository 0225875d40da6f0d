"""What the kernel's side of the widget answers, without a browser."""

import threading
import time

import numpy as np
import pytest

from ailab_kernel.annotation.screen import Solid
from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.ground.errors import AnnotationError, WrongUse
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

SENT = make_canary()
BRUSH = {"tool": "brush", "label": 1, "axis": 0, "index": 4, "radius_mm": 3.0, "locked": [], "within": None}


class Heard(Annotator):
    """Keeps what it would send."""

    def __init__(self, *given, **asked) -> None:
        self.told = []
        super().__init__(*given, **asked)

    def send(self, content, buffers=None) -> None:
        self.told.append((content, [np.frombuffer(one, np.uint8) for one in buffers or ()]))

    def ask(self, *points, **message):
        data = [memoryview(np.array(points, "<f4").tobytes())] if points else []
        self._heard(self, {"session": self.session.case.name} | message, data)
        return self.told[-1]


@pytest.fixture
def made(tmp_path):
    sessions = []

    def made(vol: Volume = SENT.volume, **asked) -> Heard:
        case = Case("", SENT.volume.series_uid, "reader-1", SENT.mask.labels)
        sessions.append(Session(tmp_path, vol, case=case))
        return Heard(sessions[-1], **asked)

    yield made
    for session in sessions:
        session.close()


def test_a_slice_comes_as_the_stored_values_and_its_labels(made):
    widget = made()
    for axis in range(3):
        told, (labels, pixels) = widget.ask(kind="slices", want=[[axis, 3]])
        assert (told["kind"], told["axis"], told["index"]) == ("slice", axis, 3)
        wished = np.take(SENT.volume.array, 3, axis=axis)
        assert np.array_equal(pixels.view(widget.scene["dtype"]).reshape(wished.shape), wished)
        assert not labels.any()
    before = len(widget.told)
    widget.ask(kind="slices", want=[[0, 99], [7, 0], [0, -1], [0, "1"]])
    assert len(widget.told) == before


def test_float_values_of_any_scale_are_shown_within_a_65535th(made):
    values = np.random.default_rng(1).normal(3.0, 200.0, SENT.volume.array.shape).astype(np.float32)
    scaled = Volume(values, SENT.volume.grid, slope=np.linspace(1, 2, len(values))[:, None, None], intercept=-7.0)
    widget = made(scaled)
    _, (_, pixels) = widget.ask(kind="slices", want=[[0, 5]])
    shown = pixels.view("uint16").astype(float).reshape(values.shape[1:]) * widget.scene["slope"] + widget.scene["intercept"]
    assert np.abs(shown - scaled.values[5]).max() <= widget.scene["slope"] * 0.51


def test_a_stroke_is_acknowledged_with_what_changed_and_what_is_shown(made):
    widget = made()
    told, (labels,) = widget.ask([4, 12, 15], [4, 14, 20], kind="do", act="draw", client="a", number=1, operation=BRUSH, shown=[[0, 4]])
    assert (told["kind"], told["number"], told["said"], told["again"], told["undo"], told["redo"]) == ("kept", 1, "", 0, True, False)
    assert np.array_equal(labels.reshape(26, 36), widget.session.array[4])
    assert told["voxels"] == [int(widget.session.array.sum())]
    assert told["slices"] == [1]
    assert told["span"][0] == [4, 4]
    told, _ = widget.ask(kind="do", act="undo", client="a", number=2, shown=[])
    assert (told["voxels"], told["slices"], told["redo"]) == ([0], [0], True)
    told, _ = widget.ask(kind="do", act="undo", client="a", number=3, shown=[])
    assert told["said"] == "there is nothing to undo"
    told, _ = widget.ask(kind="do", act="redo", client="a", number=9, shown=[])
    assert told["again"] == 4
    told, _ = widget.ask(kind="hello", clients=["a", "b"])
    assert told["expected"] == {"a": 4, "b": 1}


def test_what_cannot_be_done_is_one_line(made, monkeypatch):
    widget = made()
    assert "is unknown; reload" in widget.ask(kind="dance")[0]["said"]
    assert "without its number" in widget.ask(kind="do", act="undo")[0]["said"]
    assert "no place to be saved to" in widget.ask(kind="save")[0]["said"]

    def full(record):
        raise AnnotationError("the stroke could not be kept (No space left on device)")

    monkeypatch.setattr(widget.session.journal, "append", full)
    told, _ = widget.ask([4, 12, 15], kind="do", act="draw", client="a", number=1, operation=BRUSH, shown=[])
    assert told == {"session": widget.session.case.name, "kind": "failed", "said": "the stroke could not be kept (No space left on device)"}


def test_anything_wrong_is_one_line_and_the_rest_is_in_the_log(made, monkeypatch, caplog):
    widget = made()
    for message in (None, 7, [], {}, {"kind": 3}, {"kind": "do"}, {"kind": "do", "client": "a", "number": 1, "act": "draw", "operation": 7},
                    {"kind": "hello", "clients": 5}, {"kind": "slices", "want": [[[], 0]]}, {"kind": "case", "number": "x"}):
        before = len(widget.told)
        asked = message if not isinstance(message, dict) or not message else {"session": widget.session.case.name} | message
        widget._heard(widget, asked, [])
        said = [content.get("said") for content, _ in widget.told[before:]]
        assert len(said) <= 1
        assert all(one and "\n" not in one for one in said), message
    before = len(widget.told)
    widget.set_state({"scene": 5})
    assert "the page sets scene" in widget.told[-1][0]["said"]
    assert len(widget.told) == before + 1
    assert isinstance(widget.scene, dict)

    def broken(*given):
        raise RuntimeError("Doe^John broke it")

    monkeypatch.setattr(widget.session, "do", broken)
    told, _ = widget.ask(kind="do", act="undo", client="a", number=1)
    assert told["said"] == "this failed (RuntimeError); what you drew is kept: reload the page if it comes again"
    assert "RuntimeError" in caplog.text


class Ball:
    """A refiner: what it is told to do."""

    name = "ball@3"

    def __init__(self, does) -> None:
        self.does = does

    def refine(self, vol, array, hints, *, label):
        return self.does(array.copy(), hints)


def wait(widget, kind: str):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = [content for content, _ in widget.told if content["kind"] == kind]
        if found:
            return found[-1]
        time.sleep(0.01)
    raise AssertionError(f"nothing of kind {kind} was told")


def click(widget, *place, value=1, number=1):
    return widget.ask(place, kind="do", act="click", client="a", number=number, operation={"label": 1, "value": value, "locked": []}, shown=[])


def test_a_click_is_answered_by_the_refiner_and_journalled_with_what_made_it(made):
    def marks(array, hints):
        for hint in hints:
            array[tuple(int(one) for one in hint.place)] = hint.label
        return array

    widget = made(refiner=Ball(marks))
    told, _ = click(widget, 3, 4, 5)
    told = wait(widget, "changed")
    assert (told["span"], told["thinking"], told["clicks"]) == ([[3, 3], [4, 4], [5, 5]], False, [[3, 4, 5, 1]])
    assert np.argwhere(widget.session.array).tolist() == [[3, 4, 5]]
    assert told["voxels"] == [1]
    assert widget.session.helped_by == ("ball@3",)


@pytest.mark.parametrize(("does", "said"), [
    (lambda array, hints: array[1:], "ball@3 answered with shape"),
    (lambda array, hints: 1 / 0, "the proposal failed (ZeroDivisionError)"),
    (lambda array, hints: None, "ball@3 answered with shape ()"),
])
def test_a_refiner_that_fails_is_one_line_and_changes_nothing(made, does, said):
    widget = made(refiner=Ball(does))
    click(widget, 3, 4, 5)
    assert wait(widget, "failed")["said"].startswith(said)
    told = wait(widget, "changed")
    assert (told["span"], told["thinking"], told["clicks"]) == ([], False, [])
    assert not widget.session.array.any()
    assert widget.ask([4, 12, 15], kind="do", act="draw", client="a", number=2, operation=BRUSH, shown=[])[0]["said"] == ""


def test_strokes_that_were_drawn_meanwhile_stay(made):
    go = threading.Event()

    def marks(array, hints):
        go.wait(20)
        array[2:6, 3:20, 3:20] = 1
        array[4, 12, 15] = 0                                      # it does not know the stroke
        return array

    widget = made(refiner=Ball(marks))
    told, _ = click(widget, 3, 4, 5)
    assert told["thinking"]
    widget.ask([4, 12, 15], kind="do", act="draw", client="a", number=2, operation=BRUSH, shown=[])
    stroke = widget.session.array.copy()
    go.set()
    wait(widget, "changed")
    wished = stroke.copy()
    wished[2:6, 3:20, 3:20] = 1
    assert np.array_equal(widget.session.array, wished)


def test_a_reading_is_taken_over_here_or_whole(made):
    theirs = Mask(np.random.default_rng(3).integers(0, 2, SENT.mask.array.shape).astype(np.uint8), SENT.volume.grid, SENT.mask.labels)
    widget = made(references={"reader-b": theirs})
    assert [one["name"] for one in widget.scene["references"]] == ["reader-b"]
    _, buffers = widget.ask(kind="slices", want=[[1, 7]])
    assert np.array_equal(buffers[2].reshape(theirs.array.shape[0], -1), theirs.array[:, 7])
    take = {"reference": "reader-b", "label": 1, "axis": 1, "index": 7, "locked": []}
    widget.ask(kind="do", act="take", client="a", number=1, operation=take, shown=[])
    wished = np.zeros_like(theirs.array)
    wished[:, 7] = theirs.array[:, 7]
    assert np.array_equal(widget.session.array, wished)
    widget.ask(kind="do", act="take", client="a", number=2, operation=take | {"axis": -1}, shown=[])
    assert np.array_equal(widget.session.array, theirs.array)
    assert widget.session.helped_by == ("reader-b",)
    for number, harm in enumerate(({"reference": "reader-x"}, {"index": 999}, {"axis": 3}, {"label": 9}, {"label": None}), start=3):
        told, _ = widget.ask(kind="do", act="take", client="a", number=number, operation=take | harm, shown=[])
        assert told["said"], harm
        assert told["again"] == 0
    assert np.array_equal(widget.session.array, theirs.array)
    with pytest.raises(WrongUse, match="another grid"):
        made(references={"reader-b": Mask(theirs.array[1:], theirs.grid.__class__((theirs.grid.shape[0] - 1, *theirs.grid.shape[1:]), theirs.grid.affine), theirs.labels)})


@pytest.mark.parametrize("shape", [(7, 40, 31), (40, 7, 90), (3, 3, 3), (1, 200, 160)])
@pytest.mark.parametrize("spacing", [(7.0, 0.9, 0.8), (1.0, 1.0, 1.0), (0.7, 3.0, 2.0)])
def test_the_volume_in_small_holds_every_bright_voxel(shape, spacing, monkeypatch):
    monkeypatch.setattr("ailab_kernel.annotation.screen.solid._MOST_CELLS", 5000)
    solid, chance = Solid(shape, spacing), np.random.default_rng(4)
    array = chance.integers(-1000, 1000, shape).astype(np.int16)
    small = solid.small(array)
    assert list(small.shape) == solid.counts
    assert small.max() == array.max()
    for _ in range(20):                                           # a voxel's cells are where the page looks for it
        voxel = tuple(int(chance.integers(0, size)) for size in shape)
        lone = np.zeros(shape, np.uint8)
        lone[voxel] = 1
        cells = np.argwhere(solid.small(lone))
        assert len(cells)
        places = (cells + 0.5) * np.array(shape) / solid.counts - 0.5
        assert (np.abs(places - voxel) <= np.maximum(np.array(shape) / solid.counts, 1)).all()
    labels = np.zeros(shape, np.uint8)
    assert not solid.labels(labels).any()
    for _ in range(6):
        first = int(chance.integers(0, shape[0]))
        last = int(chance.integers(first, shape[0]))
        labels[first : last + 1] = chance.integers(0, 3, labels[first : last + 1].shape)
        solid.changed([[first, last], [0, 0], [0, 0]])
        assert np.array_equal(solid.labels(labels), solid.small(labels))


def test_a_page_that_shows_another_case_changes_nothing_here(made):
    widget = made()
    told, _ = widget.ask([4, 12, 15], kind="do", act="draw", client="a", number=1, operation=BRUSH, shown=[], session="other")
    assert (told["kind"], told["session"]) == ("failed", "other")
    assert "another case" in told["said"]
    assert not widget.session.array.any()
    assert widget.session.expected("a") == 1
    assert "the worklist has 0 cases" in widget.ask(kind="case", number=0)[0]["said"]


def test_the_scene_tells_places_and_never_a_patient(made):
    scene = made(title="Orientation canary").scene
    assert [plane["name"] for plane in scene["planes"]] == ["axial", "coronal", "sagittal"]
    assert np.allclose(np.diag(scene["metric"]), np.square(scene["spacing"]))
    assert scene["windows"][0] == ("soft tissue", 40, 400)
    assert scene["labels"][0]["meaning"] == "Device"
    assert "Phantom" not in str(scene)
    assert not scene["can_save"]
