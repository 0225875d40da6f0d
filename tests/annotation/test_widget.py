"""What the kernel's side of the widget answers, without a browser."""

import numpy as np
import pytest

from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.ground.errors import AnnotationError
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
        told, (pixels, labels) = widget.ask(kind="slices", want=[[axis, 3]])
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
    _, (pixels, _) = widget.ask(kind="slices", want=[[0, 5]])
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
