"""What a person decides is what is masked; what nobody decided is not released; no decision is lost."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from ailab_kernel.datasets.reviewing import FolderOriginals, open_review, release, reviewed
from ailab_kernel.ground.errors import DatasetError, NotFound, SettingsError, WrongUse
from ailab_kernel.privacy.bulk import JOURNAL, Treatment
from ailab_kernel.privacy.desk import Desk
from ailab_kernel.privacy.folder import deidentify_folder
from ailab_kernel.privacy.pixels.boxes import Box
from ailab_kernel.privacy.review import REVIEW, Log, Place, boxes_of, places_of
from ailab_kernel.privacy.rules.profile import profile_of

from .burned import CR, SC, US, US_CINE, Line, anatomy, drawn, image
from .objects import KEY, ct, file_of

PLAIN = Treatment(profile_of("research"), KEY)
SECRETS = (b"uixano", b"QUIXANO", b"MRN-", b"Argamasilla", b"1.2.276.0.77", b"Alonso")


@dataclass
class Run:
    """A folder of pictures, its output, and a person at a desk."""

    source: Path
    out: Path
    number: int = 0

    def add(self, name: str, ds) -> None:
        self.source.mkdir(exist_ok=True)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.276.0.77.7.{1 + int.from_bytes(name.encode())}"
        (self.source / f"Quixano {name}.dcm").write_bytes(file_of(ds))

    @property
    def treatment(self) -> Treatment:
        return reviewed(PLAIN, self.out, journal=None)

    def run(self, *, let_go: bool = True) -> dict:
        if let_go:
            release(self.treatment)
        return deidentify_folder(self.source, self.out, self.treatment, processes=1)

    def desk(self) -> Desk:
        return Desk(self.out, FolderOriginals(self.source, self.treatment), "reader-0a1b2c3d")

    def act(self, desk: Desk, name: str, kind: str, places=None, *, client: str = "page") -> str:
        self.number = desk.log.expected.get(client, 1)
        told = {"name": name, "kind": kind, "client": client, "number": self.number}
        return desk.act(told | ({} if places is None else {"boxes": [list(one) for one in places]}))

    def outputs(self, modality: str) -> list:
        return [ds for path in sorted(self.out.rglob("*.dcm")) if (ds := dcmread(path)).Modality == modality]


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path / "in", tmp_path / "out")


def named(desk: Desk, modality: str) -> str:
    return next(one.name for one in desk.proposals.values() if one.modality == modality)


def rastered(places, frames: int, shape) -> np.ndarray:
    """An independent rasteriser: every pixel asked on its own."""
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    out = np.zeros((frames, *shape), bool)
    for first, last, top, left, bottom, right in places:
        here = (rows >= top) & (rows <= bottom - 1) & (columns >= left) & (columns <= right - 1)
        for frame in range(first, last + 1):
            out[frame] |= here
    return out


def check(before: np.ndarray, after: np.ndarray, places, shape) -> None:
    """Under the places every pixel is black, elsewhere each is what it was."""
    frames = before.reshape(-1, *shape, *before.shape[before.ndim - (before.shape[-1] == 3):][:1]) if before.shape[-1] == 3 else before.reshape(-1, *shape)
    now = after.reshape(frames.shape)
    cover = rastered(places, len(frames), shape)
    assert (now[cover] == 0).all()
    np.testing.assert_array_equal(now[~cover], frames[~cover])


def texts(*words: str, seed: int = 5):
    lines = tuple(Line(one, 12 + 60 * at, 16 + 20 * at, 14) for at, one in enumerate(words))
    return drawn(anatomy(240, 320, seed=seed), lines)[0]


def test_what_nobody_decided_is_not_released(run):
    run.add("us", image(texts("QUIXANO ALONSO", "LIVER RT")[None], sop_class=US, modality="US"))
    run.add("empty", image(anatomy(200, 240, seed=7)[None], sop_class=SC, modality="OT"))
    run.add("ct", ct(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]))
    for _ in range(2):
        report = run.run()
        assert report["review"] == {"waiting": 2, "decided": 0, "boxes": 0}
        assert report["written"] == 1
        assert [one["reason"] for one in report["refused"]] == ["waits for a person to look at its pixels"] * 2
        assert [path for path in run.out.rglob("*.dcm") if dcmread(path).Modality != "CT"] == []
    desk = run.desk()
    assert [one["state"] for one in desk.listed()] == ["open", "open"]
    run.act(desk, named(desk, "US"), "boxes", [(0, 0, 1, 2, 30, 40)])
    run.act(desk, named(desk, "OT"), "done", [])
    run.act(desk, named(desk, "OT"), "undo")
    assert run.run()["review"] == {"waiting": 2, "decided": 0, "boxes": 0}, "boxes are not a decision, and it may be taken back"
    with pytest.raises(SettingsError):
        deidentify_folder(run.source, run.out, PLAIN, processes=1)
    assert len(list(run.out.rglob("*.dcm"))) == 1, "not without the review either"


@pytest.mark.parametrize(("syntax", "photometric"), [
    ("1.2.840.10008.1.2.1", "MONOCHROME2"), ("1.2.840.10008.1.2.1", "RGB"), (RLELossless, "MONOCHROME2"),
    (JPEGBaseline8Bit, "YBR_FULL_422"),
])  # fmt: skip
def test_exactly_the_boxes_of_the_person_are_masked(run, syntax, photometric):
    ds = image(texts("QUIXANO ALONSO", "LIVER RT")[None], sop_class=US, modality="US", syntax=syntax, photometric=photometric)
    run.add("us", ds)
    from pydicom.pixels import pixel_array

    before = pixel_array(ds)                       # as it is shown: colours in RGB
    run.run()
    desk = run.desk()
    name = named(desk, "US")
    (proposal,) = desk.proposals.values()
    assert "LIVER" not in json.dumps(desk.detail(name))
    assert len(proposal.places) == 2, proposal.places
    assert set(proposal.fates) == {"a known identifier of the study", "text where none may stay"}
    identifier = proposal.places[proposal.fates.index("a known identifier of the study")]
    wished = [identifier, Place(0, 0, 200, 101, 233, 177), Place(0, 0, 190, 150, 400, 190)]
    assert run.act(desk, name, "boxes", wished) == ""
    assert run.act(desk, name, "done", wished) == ""
    report = run.run()
    assert report["review"] == {"waiting": 0, "decided": 1, "boxes": 3}
    assert report["refused"] == []
    (out,) = run.outputs("US")
    check(before, pixel_array(out), [*wished[:2], wished[2]._replace(bottom=240)], (240, 320))
    assert out.BurnedInAnnotation == "NO"
    assert "113101" in {one.CodeValue for one in out.DeidentificationMethodCodeSequence}
    line = json.loads((run.out / JOURNAL).read_text().splitlines()[-1])
    assert (line["pixels"]["decided"], line["pixels"]["frames_read"]) == (1, 0)
    assert line["searched"] > 10


def test_without_a_box_the_pixels_stay_whole(run):
    ds = image(texts("LIVER RT")[None], sop_class=US, modality="US", syntax=RLELossless)
    run.add("us", ds)
    run.run()
    desk = run.desk()
    assert len(desk.detail(named(desk, "US"))["places"]) == 1
    run.act(desk, named(desk, "US"), "done", [])
    assert run.run()["review"] == {"waiting": 0, "decided": 1, "boxes": 0}
    (out,) = run.outputs("US")
    assert out.PixelData == ds.PixelData
    assert "BurnedInAnnotation" not in out
    assert "113101" in {one.CodeValue for one in out.DeidentificationMethodCodeSequence}, "somebody looked"


def test_a_box_of_a_cine_has_frames(run):
    still = texts("QUIXANO ALONSO")
    frames = np.stack([np.roll(anatomy(240, 320, seed=1), 3 * index, axis=1) for index in range(8)])
    frames[:, :40] = still[:40]
    frames[5] = drawn(frames[5], (Line("Panza Teresa", 210, 100, 14),))[0]
    ds = image(frames, sop_class=US_CINE, modality="US", syntax=RLELossless)
    run.add("cine", ds)
    run.run()
    desk = run.desk()
    (proposal,) = desk.proposals.values()
    top = [one for one in proposal.places if one.top < 40]
    assert [(one.first, one.last) for one in top] == [(0, 7)], "one box over all frames, not eight"
    assert [(one.first, one.last) for one in proposal.places if one.top > 150] == [(5, 5)]
    wished = [top[0], Place(5, 6, 100, 50, 120, 90)]
    run.act(desk, proposal.name, "done", wished)
    run.run()
    (out,) = run.outputs("US")
    check(ds.pixel_array, out.pixel_array, wished, (240, 320))


def test_an_identifier_that_the_person_left_comes_back_and_is_shown(run):
    run.add("us", image(texts("QUIXANO ALONSO")[None], sop_class=US, modality="US"))
    run.run()
    desk = run.desk()
    name = named(desk, "US")
    run.act(desk, name, "done", [])
    report = run.run()
    assert report["review"] == {"waiting": 1, "decided": 0, "boxes": 0}
    assert "an identifier is still read in its pixels" in report["refused"][0]["reason"]
    assert run.outputs("US") == []
    desk.refresh()
    detail = desk.detail(name)
    assert detail["state"] == "returned"
    (met,) = detail["met"]
    assert met.top < 20 < met.bottom
    assert run.act(desk, name, "done", [met.__class__(0, 0, 0, 0, 40, 320)]) == ""
    assert run.run()["review"]["decided"] == 1


def test_what_is_released_or_being_released_is_not_changed(run):
    run.add("us", image(texts("LIVER RT")[None], sop_class=US, modality="US"))
    run.run()
    desk = run.desk()
    name = named(desk, "US")
    run.act(desk, name, "done", [])
    release(run.treatment)
    desk.refresh()
    assert desk.state(name) == "releasing"
    assert "being released" in run.act(desk, name, "boxes", [(0, 0, 1, 1, 9, 9)])
    run.run()
    assert "released before" in run.act(desk, name, "undo")
    assert desk.state(name) == "released"
    assert desk.detail(name)["places"] == ()
    assert (desk.detail(name)["undo"], desk.detail(name)["redo"]) == (False, False)
    before = (run.out / JOURNAL).read_bytes()
    run.run()
    assert (run.out / JOURNAL).read_bytes() == before, "nothing was done twice"


def test_the_journal_holds_nothing_of_a_patient_and_goes_on_after_anything(run):
    run.add("us", image(texts("QUIXANO ALONSO", "MRN-4711-77")[None], sop_class=US, modality="US"))
    run.run()
    desk = run.desk()
    name = named(desk, "US")
    place = Place(0, 0, 1, 2, 30, 40)
    run.act(desk, name, "boxes", [place])
    run.act(desk, name, "boxes", [place, place._replace(bottom=50)])
    assert desk.act({"name": name, "kind": "boxes", "boxes": [], "client": "page", "number": 2}) == "", "sent again: written once"
    with pytest.raises(WrongUse):
        desk.act({"name": name, "kind": "undo", "client": "page", "number": 9})
    run.act(desk, name, "undo")
    run.act(desk, name, "undo", client="another")
    run.act(desk, name, "redo")
    file = run.out / REVIEW / "decisions.jsonl"
    with file.open("ab") as torn:
        torn.write(b'{"name": "half')
    again = run.desk()
    assert again.detail(name)["places"] == (place,)
    assert (again.detail(name)["undo"], again.detail(name)["redo"]) == (True, True)
    assert [json.loads(line)["kind"] for line in file.read_text().splitlines()[1:]] == ["boxes", "boxes", "undo", "undo", "redo"]
    assert all(one["who"] == "reader-0a1b2c3d" and one["at"].endswith("+00:00") for one in map(json.loads, file.read_text().splitlines()[1:]))
    for bad in ("x", [[0, 0, 1, 1]], [[0, 0, 1, 1, 9, 9.5]], [[True, 0, 1, 1, 9, 9]]):
        said = desk.act({"name": name, "kind": "boxes", "boxes": bad, "client": "page", "number": desk.log.expected["page"]})
        assert "expected" in said or "six whole numbers" in said
    assert "unknown" in run.act(desk, "nobody", "done", [])
    assert "unknown" in run.act(desk, name, "taken", [])
    run.act(desk, name, "done", [(0, 0, 0, 0, 240, 320)])
    run.run()
    kept = b"".join(path.read_bytes() for path in run.out.rglob("*") if path.is_file())
    kept += str(sorted(run.out.rglob("*"))).encode()
    assert not [one for one in SECRETS if one in kept]
    (run.out / REVIEW / "decisions.jsonl").write_bytes(b"{}\n")
    with pytest.raises(DatasetError, match="damaged"):
        run.desk()


def test_pictures_are_the_originals_and_faint_ones_are_brighter(run):
    from io import BytesIO

    from PIL import Image

    picture = texts("LIVER RT")
    run.add("us", image(picture[None], sop_class=US, modality="US"))
    run.add("cr", image(texts("QUIXANO")[None], sop_class=CR, modality="CR", photometric="MONOCHROME1", bits=12))
    run.run()
    desk = run.desk()
    name = named(desk, "US")
    shown = np.asarray(Image.open(BytesIO(desk.picture(name, 0))), int)
    assert shown.shape == picture.shape
    assert np.abs(shown - (picture - picture.min()) * (255 / np.ptp(picture))).max() <= 1
    assert np.asarray(Image.open(BytesIO(desk.picture(name, 0, faint=True)))).mean() > shown.mean() + 20
    inverted = np.asarray(Image.open(BytesIO(desk.picture(named(desk, "CR"), 0))))
    assert inverted[:8, :8].mean() < 60, "the ground of an inverted picture is dark"
    for wrong in ((name, 1), (name, -1), (name, "0"), ("nobody", 0)):
        with pytest.raises(NotFound):
            desk.picture(*wrong)
    path = next(run.source.glob("*us.dcm"))
    path.write_bytes(path.read_bytes() + b"\0\0")
    with pytest.raises(NotFound, match="no longer holds"):
        run.desk().picture(name, 0)


def test_places_cover_the_boxes_that_they_were_made_of():
    rng = np.random.default_rng(3)
    for _ in range(60):
        boxes = {int(frame): tuple(Box(int(t), int(le), int(t + h), int(le + w)) for t, le, h, w in rng.integers(1, 30, (rng.integers(1, 4), 4)))
                 for frame in rng.choice(12, rng.integers(1, 12), replace=False)}  # fmt: skip
        before, after = (np.zeros((12, 64, 64), bool) for _ in range(2))
        for volume, given in ((before, boxes), (after, boxes_of(places_of(boxes)))):
            for frame, here in given.items():
                for box in here:
                    box.of(volume[frame])[...] = True
        assert not (before & ~after).any()
        assert not after[sorted(set(range(12)) - set(boxes))].any(), "no frame more"


def test_edges_lie_on_whole_pairs_where_pairs_share_their_colour(run):
    ds = image(texts("LIVER RT")[None], sop_class=US, modality="US", photometric="YBR_FULL_422")
    before = ds.pixel_array.copy()
    run.add("us", ds)
    run.run()
    desk = run.desk()
    name = named(desk, "US")
    run.act(desk, name, "done", [(0, 0, 100, 51, 120, 77)])
    (place,) = desk.detail(name)["places"]
    assert place == (0, 0, 100, 50, 120, 78)
    run.run()
    (out,) = run.outputs("US")
    cover = rastered([place], 1, (240, 320))[0]
    np.testing.assert_array_equal(out.pixel_array[~cover], before[~cover])
    assert (out.pixel_array[cover] == 0).all()


def test_two_desks_and_a_run_do_not_cross(run):
    run.add("us", image(texts("LIVER RT")[None], sop_class=US, modality="US"))
    run.run()
    one, two = run.desk(), run.desk()
    name = named(one, "US")
    run.act(one, name, "boxes", [(0, 0, 1, 1, 9, 9)], client="one")
    run.act(two, name, "done", [(0, 0, 2, 2, 9, 9)], client="two")
    one.refresh()
    assert one.state(name) == "done"
    assert Log(run.out / REVIEW).take() == 1
    assert "being released" in run.act(one, name, "undo", client="one"), "seen under the lock, without a refresh"


@pytest.mark.slow
def test_a_release_that_is_killed_is_gone_on_with(run, tmp_path):
    """kill -9 of the real command, again and again: what left was decided, and in the end all of it left, once."""
    (tmp_path / "site.key").write_bytes(KEY)
    (tmp_path / "site.key").chmod(0o600)
    shown = [texts("LIVER RT", seed=seed) for seed in range(6)]
    for number, picture in enumerate(shown):
        run.add(f"us{number}", image(picture[None], sop_class=US, modality="US"))
    run.run()
    desk = run.desk()
    wished = {name: [Place(0, 0, 9 * number, 5, 9 * number + 20, 99)] for number, name in enumerate(desk.proposals)}
    for name, places in wished.items():
        run.act(desk, name, "done", places)
    words = ("deidentify", run.source, run.out, "--key-file", tmp_path / "site.key", "--review", "--processes", "1", "--json")
    command = [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", *map(str, words)]
    for files in (0, 2, 4):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
        until = time.monotonic() + 120
        while running.poll() is None and len(list(run.out.rglob("*.dcm"))) <= files and time.monotonic() < until:
            time.sleep(0.01)
        running.kill()
        running.wait()
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["review"] == {"waiting": 0, "decided": 6, "boxes": 6}
    desk.refresh()
    assert {desk.state(name) for name in wished} == {"released"}
    for proposal, picture in zip(desk.proposals.values(), shown, strict=True):
        (out,) = (ds for ds in run.outputs("US") if ds.SOPInstanceUID == proposal.instance)
        check(picture, out.pixel_array, wished[proposal.name], (240, 320))


def test_the_widget_refuses_what_it_does_not_know(run):
    run.add("us", image(texts("LIVER RT")[None], sop_class=US, modality="US"))
    page = open_review(run.source, run.out, replace(PLAIN), who="reader-0a1b2c3d", processes=1)
    told = []
    page.send = lambda content, buffers=None: told.append((content, buffers))
    session = page.desk.log.session
    for message, said in (("x", "unknown"), ({"kind": "drop"}, "unknown"), ({"kind": "hello", "session": "?"}, "another review"),
                          ({"kind": "frame", "session": session, "name": "x"}, "not in this review"),
                          ({"kind": "hello", "session": session, "clients": 7}, "this failed (TypeError)")):  # fmt: skip
        page._heard(page, message, [])
        assert said in told[-1][0]["said"]
    page.set_state({"scene": {}})
    assert "kernel's" in told[-1][0]["said"]
    assert page.scene["objects"][0]["state"] == "open"
    name = page.scene["objects"][0]["name"]
    page._heard(page, {"kind": "act", "act": "done", "session": session, "name": name, "boxes": [], "client": "c", "number": 2}, [])
    assert (told[-1][0]["kind"], told[-1][0]["expected"]) == ("welcome", {"c": 1})
    page._heard(page, {"kind": "act", "act": "done", "session": session, "name": name, "boxes": [], "client": "c", "number": 1}, [])
    assert told[-1][0]["object"]["state"] == "done"
    assert page.release()["review"]["decided"] == 1
    assert page.scene["objects"][0]["state"] == "released"
