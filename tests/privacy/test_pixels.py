"""Burned-in text is found and masked, anatomy is not; what is not touched keeps its bytes."""

import pickle
import re
import socket
import sys
import time
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from ailab_kernel.dicom.parsing import is_dicom
from ailab_kernel.privacy.pixels.boxes import Box, Text
from ailab_kernel.privacy.pixels.pictures.frames import Frames
from ailab_kernel.privacy.pixels.pictures.reader import Reader, _engine, views
from ailab_kernel.privacy.pixels.redact import Pixels, Redaction, Redactor
from ailab_kernel.privacy.pixels.risk import Look, Risk
from ailab_kernel.privacy.pixels.search import Found
from ailab_kernel.privacy.pixels.sheet import Entry, contact_sheet
from ailab_kernel.privacy.pixels.texts import Fate
from ailab_kernel.privacy.rules.profile import profile_of
from ailab_kernel.privacy.verify import certify, originals
from tests.conftest import FULL_BATTERY

from .burned import CR, FONTS, SC, US, US_CINE, WHO, Line, anatomy, drawn, image
from .objects import ct, file_of, scrubber

KNOWN = ("Quixano^Alonso", "MRN-4711-77", "19280923", "ACC778899", "Hospital of Argamasilla")
LITTLE = "1.2.840.10008.1.2.1"
DETECT = Redactor(Pixels.DETECT)


@dataclass(frozen=True)
class Nobody(Reader):
    """Fails whoever asks it to read."""

    def texts(self, pictures):
        pytest.fail("a frame was read that the rules clear")


def hidden(boxes, shape) -> np.ndarray:
    out = np.zeros(shape[:2], bool)
    for box in boxes:
        box.of(out)[...] = True
    return out


def check_one(ds: Dataset, before: np.ndarray, made: Redaction, inked: tuple[Box, ...], index: int = 0) -> None:
    """Every inked place of a frame is under the boxes, and nothing else of it changed."""
    now = dcmread(BytesIO(file_of(ds))).pixel_array
    now, was = (one[index] if ds.get("NumberOfFrames") else one for one in (now, before))
    cover = hidden(made.boxes.get(index, ()), was.shape)
    missed = [box for box in inked if box.of(cover).mean() < 0.97]
    assert not missed, [(one.text, one.text.words, one.fate) for one in made.found]
    np.testing.assert_array_equal(now[~cover], was[~cover])
    assert cover.mean() < 0.35


@pytest.mark.parametrize(("sop_class", "modality", "photometric", "bits", "syntax", "more"), [
    (SC, "OT", "RGB", 8, LITTLE, {"planar": 1}),
    (SC, "OT", "YBR_FULL_422", 8, JPEGBaseline8Bit, {}),
    (US, "US", "YBR_FULL_422", 8, LITTLE, {}),
    (US, "US", "PALETTE COLOR", 8, RLELossless, {}),
    (CR, "CR", "MONOCHROME1", 12, JPEG2000Lossless, {}),
    (CR, "CR", "MONOCHROME2", 8, JPEGBaseline8Bit, {}),
    ("1.2.840.10008.5.1.4.1.1.4", "MR", "MONOCHROME2", 16, JPEGLSLossless, {"PixelRepresentation": 1, "BurnedInAnnotation": "YES"}),
], ids=["sc-rgb", "sc-jpeg", "us-422", "us-palette-rle", "cr-j2k", "cr-jpeg", "mr-jpeg-ls"])  # fmt: skip
def test_names_are_found_in_every_kind_of_picture(sop_class, modality, photometric, bits, syntax, more):
    lines = tuple(Line(words, 6 + 26 * at, 14 + 30 * at, 13 + at, FONTS[at], turned=0) for at, words in enumerate(WHO[:4]))
    picture, inked = drawn(anatomy(seed=bits), (*lines, Line(WHO[0], 150, 12, 15, turned=1)))
    ds = image(picture[None], sop_class=sop_class, modality=modality, photometric=photometric, bits=bits, syntax=syntax, **more)
    before = ds.pixel_array.copy()
    made = DETECT.redact(ds, identifiers=KNOWN)
    check_one(ds, before, made, inked)
    assert (made.read, made.masked, made.held) == (1, 1, "")
    assert "Quixano".upper() not in repr(made)
    assert not DETECT.again(ds, KNOWN)


def test_inverted_turned_and_slanted_text():
    turned = (Line(WHO[0], 20, 20, 16, turned=1), Line(WHO[1], 30, 200, 16, turned=2), Line(WHO[2], 150, 400, 14, turned=3))
    picture, inked = drawn(anatomy(seed=3), turned)
    dark, inked_dark = drawn(np.full((384, 448), 230, np.uint8), turned, ink=10)
    for frame, places in ((picture, inked), (dark, inked_dark)):
        ds = image(frame[None])
        before = ds.pixel_array.copy()
        check_one(ds, before, DETECT.redact(ds, identifiers=KNOWN), places)
    from PIL import Image

    straight, _ = drawn(np.zeros((300, 448), np.uint8), (Line(WHO[0], 140, 110, 18),))
    slanted = np.asarray(Image.fromarray(straight).rotate(20, Image.Resampling.BILINEAR))
    ds = image(slanted[None])
    cover = hidden(DETECT.redact(ds, identifiers=KNOWN).boxes[0], slanted.shape)
    assert slanted[~cover].max() < 100


def banner(count: int, seed: int = 0) -> tuple[np.ndarray, Box, tuple[Box, ...]]:
    """A cine: a name above the region of the image, in which an organ moves over speckle."""
    rng = np.random.default_rng(seed)
    region = Box(48, 20, 250, 300)
    still, inked = drawn(np.zeros((260, 320), np.uint8), (Line(WHO[0], 8, 10, 13), Line(WHO[1], 28, 120, 12, "hershey")))
    frames = np.repeat(still[None], count, axis=0)
    for index, frame in enumerate(frames):
        inside = anatomy(202, 280, seed=1).astype(int) + rng.integers(0, 40, (202, 280))
        region.of(frame)[...] = np.roll(inside, 3 * index, axis=1).clip(0, 235)
    return frames, region, inked


@pytest.mark.parametrize("syntax", [LITTLE, RLELossless, JPEGBaseline8Bit])
def test_a_cine_is_sampled_and_the_rest_proven(syntax):
    frames, region, inked = banner(16)
    frames[9], late = drawn(frames[9], (Line("Panza Teresa", 10, 190, 13),))
    ds = image(frames, sop_class=US_CINE, modality="US", syntax=syntax, regions=(region,))
    before = ds.pixel_array.copy()
    made = replace(DETECT, samples=3).redact(ds, identifiers=KNOWN)
    assert made.masked == 16
    assert 9 in {one.frame for one in made.found}
    assert made.read <= 6
    for index in range(16):
        check_one(ds, before, made, inked + (late if index == 9 else ()), index)
        assert (region.of(dcmread(BytesIO(file_of(ds))).pixel_array[index]) == region.of(before[index])).all()


def test_frames_without_text_keep_their_bytes():
    frames, _region, _inked = banner(8)
    frames[:, :48] = 0
    frames[0], inked = drawn(frames[0], (Line(WHO[0], 8, 10, 13),))
    ds = image(frames, sop_class=US_CINE, modality="US", syntax=RLELossless)
    before, was = ds.pixel_array.copy(), Frames(ds).fragments
    made = DETECT.redact(ds, identifiers=KNOWN)
    assert set(made.boxes) == {0}
    assert Frames(ds).fragments[1:] == was[1:]
    check_one(ds, before, made, inked)


def test_a_dose_report_loses_its_text_or_all_but_the_technical():
    words = ("Patient: Quixano Alonso", "CTDIvol 12.5 mGy", "DLP 512.3 mGy.cm", "Dr. Carrasco", "120 kV")
    picture, inked = drawn(np.zeros((256, 360), np.uint8), tuple(Line(one, 10 + 40 * at, 12, 14) for at, one in enumerate(words)))
    report = {"SeriesDescription": "Dose Report", "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}
    for redactor, gone in ((DETECT, inked), (replace(DETECT, keep_technical=True), (inked[0], inked[3]))):
        ds = image(picture[None], sop_class="1.2.840.10008.5.1.4.1.1.2", modality="CT", **report)
        made = redactor.redact(ds, identifiers=KNOWN)
        cover = hidden(made.boxes[0], picture.shape)
        assert [box.of(cover).mean() > 0.97 for box in inked] == [box in gone for box in inked], [one.text.words for one in made.found]


def test_letters_of_orientation_and_anatomy_stay():
    plain = anatomy(seed=8)
    lettered, _ = drawn(plain, (Line("R", 180, 6, 16), Line("L", 180, 430, 16), Line("A", 4, 220, 16), Line("120 kV", 360, 330, 12)))
    for picture in (plain, lettered):
        ds = image(picture[None], sop_class="1.2.840.10008.5.1.4.1.1.4", modality="MR", bits=12, syntax=JPEG2000Lossless)
        was = ds.PixelData
        made = Redactor(Pixels.EVERY).redact(ds, identifiers=KNOWN)
        assert (made.read, made.masked, made.held) == (1, 0, "")
        assert ds.PixelData == was
        assert "BurnedInAnnotation" not in ds


def test_reading_needs_no_network(monkeypatch):
    def refuse(*_args, **_more):
        pytest.fail("the reader asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    _engine.cache_clear()
    picture, _ = drawn(anatomy(200, 260), (Line("QUIXANO", 12, 12, 16),))
    assert [text.words for text in Reader(threads=1).texts(views(picture))] == ["QUIXANO"]


def test_what_the_rules_clear_is_never_read():
    redactor = Redactor(Pixels.DETECT, reader=Nobody())
    ds = ct(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    began = time.perf_counter()
    for _ in range(100):
        assert not redactor.redact(ds).looked
    sys.stdout.write(f"\nrules: {10 * (time.perf_counter() - began):.2f} ms an object\n")
    with pytest.raises(pytest.fail.Exception):
        redactor.redact(image(anatomy()[None]))


def test_held_until_a_person_looked():
    ds = image(anatomy(seed=4)[None])
    was = ds.PixelData
    assert not DETECT.redact(ds).held
    made = replace(DETECT, hold=True).redact(ds)
    assert "none was found" in made.held
    assert ds.PixelData == was
    asked = replace(DETECT, hold=True, pictures=True).redact(ds, asked={0: (Box(300, 400, 390, 999),)})
    assert asked.boxes == {0: (Box(300, 400, 384, 448),)}
    assert len(asked.views) == 1


def test_the_scrubber_masks_and_the_certificate_reads(tmp_path):
    picture, _ = drawn(anatomy(seed=5), (Line("QUIXANO, ALONSO", 10, 30, 14), Line("LIVER RT", 340, 30, 14)))
    ds = image(picture[None], sop_class=US, modality="US", PatientID="MRN-4711-77")
    data = file_of(ds)
    profile = profile_of("research")
    before = originals(dcmread(BytesIO(data)), profile)
    done = scrubber(pixels=DETECT).scrub(data)
    out = dcmread(BytesIO(done.file()))
    assert done.redaction.masked == 1
    assert "113101" in {one.CodeValue for one in out.DeidentificationMethodCodeSequence}
    assert out.BurnedInAnnotation == "NO"
    assert "burned-in text masked" in out.DerivationDescription
    assert certify(before, done, file=done.file(), profile=profile, pixels=DETECT).clean
    done.dataset.PixelData = ds.PixelData
    bad = certify(before, done, file=done.file(), profile=profile, pixels=DETECT)
    assert bad.found == ("7FE00010",)
    assert "burned-in text masked" in scrubber("basic", pixels=DETECT).scrub(data).dataset.DerivationDescription
    plain = scrubber().scrub(data).dataset
    assert plain.PixelData == ds.PixelData
    assert "113101" not in {one.CodeValue for one in plain.DeidentificationMethodCodeSequence}
    assert pickle.loads(pickle.dumps(DETECT)) == DETECT


def test_the_contact_sheet_stands_alone():
    picture, _ = drawn(anatomy(seed=6), (Line("QUIXANO <b>", 10, 30, 16), Line("Quixano Alonso", 60, 30, 14)))
    redactor = replace(DETECT, pictures=True, hold=True)
    entries = [Entry("1.2.3", redactor.redact(image(picture[None]), identifiers=KNOWN)),
               Entry("1.2.4", redactor.redact(image(anatomy(seed=7)[None]))),
               Entry("1.2.5", redactor.redact(ct(ImageType=["ORIGINAL", "PRIMARY"])))]  # fmt: skip
    html = contact_sheet(entries)
    assert "3 objects: 1 masked, 1 held, 1 cleared by rules." in html
    assert html.index("1.2.4") < html.index("1.2.3")
    assert "1.2.5" not in html
    assert html.count("data:image/png;base64,") == 4
    assert not re.search(r"https?://|<script|@import", html)
    assert "<b>" not in html
    assert '<rect class="goes"' in html
    assert "QUIXANO" not in repr(entries)


@pytest.mark.battery
@pytest.mark.timeout(1800)
def test_recall_and_false_masks_are_printed(shared_data):
    """Every identifier of 12 pixels and more is masked; real CT and MR without text keep every byte."""
    full = FULL_BATTERY
    reader, rng = Reader(), np.random.default_rng(2026)
    found: dict[str, list[bool]] = {"8-11": [], "12-15": [], "16-40": []}
    spent = []
    for number in range(150 if full else 6):
        height = int(rng.choice([8, 10, 12, 12, 14, 18, 24, 32]))
        lines, top = [], int(rng.integers(4, 30))
        for words in rng.permutation(WHO)[:4]:
            lines.append(Line(str(words), top, int(rng.integers(2, 60)), height, str(rng.choice(FONTS)), int(rng.choice([0, 0, 2]))))
            top += int(2.2 * height) + int(rng.integers(4, 30))
        picture, inked = drawn(anatomy(512, 700, seed=number, noise=float(rng.choice([2, 8, 16]))), tuple(lines))
        ds = image(picture[None], sop_class=CR, modality="CR", bits=12)
        began = time.perf_counter()
        made = replace(DETECT, reader=reader).redact(ds, identifiers=KNOWN)
        spent.append(time.perf_counter() - began)
        cover = hidden(made.boxes.get(0, ()), picture.shape)
        group = next(name for name in found if height <= int(name.split("-")[1]))
        found[group] += [box.of(cover).mean() > 0.97 for box in inked if box.right < 699]
    paths = sorted(path for name in ("totalseg_ref/dicom20", "cip_chest/ct-64Dicom", "dcm_qa_nih/In", "dicom2nifti/tests/data/generic")
                   for path in (shared_data / name).rglob("*") if path.is_file() and is_dicom(path))  # fmt: skip
    objects = [ds for path in paths[:: max(len(paths) // (150 if full else 5), 1)] for ds in [dcmread(path)] if "PixelData" in ds]
    false = strict = 0
    for ds in objects:
        was = ds.PixelData
        false += bool(Redactor(Pixels.EVERY, reader=reader).redact(ds).boxes)
        assert ds.PixelData is was or false
        ds.BurnedInAnnotation = "YES"
        strict += bool(replace(DETECT, reader=reader).redact(ds).boxes)
    heights = ", ".join(f"{name}: {sum(ok)} of {len(ok)}" for name, ok in found.items())
    sys.stdout.write(f"\nidentifiers masked, by height in pixels: {heights}; {1000 * np.median(spent):.0f} ms a frame; "
                     f"{false} of {len(objects)} real CT and MR images masked, {strict} where every text goes\n")  # fmt: skip
    assert all(found["12-15"] + found["16-40"])
    assert false == strict == 0


def test_a_real_echo_loses_what_is_printed_around_it(shared_data):
    (path,) = (shared_data / "pydicom_data").rglob("JPGLosslessP14SV1_1s_1f_8b.dcm")
    ds = dcmread(path)
    before = ds.pixel_array.copy()
    made = DETECT.redact(ds)
    assert {"Adult Echo", "S5-1"} <= {one.text.words for one in made.found if one.fate.goes}
    assert made.summary["frames_masked"] == 1
    assert ds.file_meta.TransferSyntaxUID == JPEGLSLossless
    check_one(ds, before, made, ())
    assert hidden(made.boxes[0], before.shape).mean() < 0.1


def test_text_never_tells_what_it_says():
    found = (Found(0, Text(Box(0, 0, 9, 9), "Quixano", 1.0), Fate.IDENTIFIER),)
    told = Redaction(Risk(Look.ALL, "x"), {0: (Box(0, 0, 9, 9),)}, found, 1)
    assert told.summary == {"look": "all", "why": "x", "frames_read": 1, "frames_masked": 1, "boxes": 1, "identifier": 1, "held": ""}
    assert "Quixano" not in f"{told}{told.summary}"
    assert "Quixano" not in repr(Text(Box(0, 0, 1, 1), "Quixano", 1.0))
