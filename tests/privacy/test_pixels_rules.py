"""Where text may be burned in: rules, regions, and what becomes of what was read."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from ailab_kernel.privacy.pixels.boxes import Box, Text, outside
from ailab_kernel.privacy.pixels.redact import Pixels, Redactor
from ailab_kernel.privacy.pixels.risk import RULES, Look, Risk, regions_of, risk_of
from ailab_kernel.privacy.pixels.texts import Fate, Judge, is_technical, known_in
from ailab_kernel.privacy.rules.text import Cleaner

from .burned import CR, SC, US, US_CINE, anatomy, image
from .objects import ct, file_of

AXIAL = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
KNOWN = Cleaner.of(["Quixano^Alonso", "MRN-4711-77", "19280923", "ACC778899", "Lu^Mei"]).identifiers


@pytest.mark.parametrize(("look", "values"), [
    (Look.CLEAR, AXIAL),
    (Look.ALL, AXIAL | {"BurnedInAnnotation": "YES"}),
    (Look.CLEAR, {"ImageType": ["DERIVED", "SECONDARY", "MPR"], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}),
    (Look.ALL, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "BurnedInAnnotation": "NO"}),
    (Look.ALL, {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}),
    (Look.ALL, AXIAL | {"SeriesDescription": "Dose Report"}),
    (Look.CLEAR, AXIAL | {"SeriesDescription": "Low dose lung, 1.0 mm"}),
    (Look.CLEAR, AXIAL | {"SeriesDescription": "CT angiography"}),
    (Look.ALL, {"Manufacturer": "Somebody Dose Management", "SeriesDescription": "x"}),
    (Look.READ, {"ImageType": ["DERIVED", "SECONDARY"]}),
    (Look.READ, {"Modality": "CR", "SOPClassUID": CR, "BurnedInAnnotation": "NO"}),
    (Look.ALL, {"Modality": "US", "SOPClassUID": US, "BurnedInAnnotation": "NO"}),
    (Look.ALL, {"Modality": "US", "SOPClassUID": US_CINE}),
    (Look.ALL, {"Modality": "CT", "SOPClassUID": SC, "BurnedInAnnotation": "NO"}),
    (Look.ALL, {"Modality": "XC", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}),
    (Look.ALL, {"Modality": "CR", "SOPClassUID": CR, "ConversionType": "DF"}),
    (Look.CLEAR, AXIAL | {"ConversionType": "WSD"}),
    (Look.READ, AXIAL | {"PhotometricInterpretation": "RGB"}),
    (Look.CLEAR, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"}),
    (Look.CLEAR, {"PixelData": None}),
    (Look.READ, {"Modality": None}),
])  # fmt: skip
def test_the_first_rule_that_fits_decides(look, values):
    ds = ct(**values)
    if ds.get("Modality") == "CT" and values.get("Modality", "") is None:
        del ds.Modality
    if "PixelData" in values:
        del ds.PixelData
    before = ds.to_json()
    assert risk_of(ds).look is look, risk_of(ds).why
    assert ds.to_json() == before
    assert risk_of(dcmread(BytesIO(file_of(ds)))) == risk_of(ds)
    assert RULES[-1].when == {}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40), st.integers(1, 20), st.integers(1, 20)), max_size=5))
def test_outside_is_what_is_in_no_box(places):
    import numpy as np

    boxes = [Box(top, left, min(top + height, 33), min(left + width, 47)) for top, left, height, width in places]
    inside, covered = np.zeros((33, 47), bool), np.zeros((33, 47), int)
    for box in boxes:
        box.of(inside)[...] = True
    for box in outside(boxes, shape=(33, 47)):
        box.of(covered)[...] += 1
    assert (covered == ~inside).all()


def test_regions_are_cut_to_the_frame():
    ds = image(anatomy(60, 80)[None], sop_class=US, modality="US", regions=(Box(10, 5, 40, 200), Box(70, 0, 90, 10)))
    assert regions_of(ds) == (Box(10, 5, 40, 80),)


def test_rules_alone_fill_what_is_outside_of_regions_and_hold_the_rest():
    region = Box(20, 10, 55, 70)
    ds = image(anatomy(60, 80)[None], sop_class=US, modality="US", regions=(region,))
    before = ds.pixel_array.copy()
    made = Redactor(Pixels.RULES).redact(ds)
    assert not made.held
    assert (region.of(ds.pixel_array) == region.of(before)).all()
    assert int(ds.pixel_array.sum()) == int(region.of(before).sum()) + int(before.min()) * (60 * 80 - region.area)
    other = image(anatomy(60, 80)[None])
    was = other.PixelData
    assert "secondary capture" in Redactor(Pixels.RULES).redact(other).held
    assert other.PixelData == was
    assert not Redactor(Pixels.OFF).redact(other).held


@pytest.mark.parametrize("words", ["QUIXANO ALONSO", "QU1XAN0", "quixano,alonso", "Name:Quixan0 4l0nso", "MRN 4711 77", "MRN-47l1-77",
                                   "23/09/1928", "23.O9.1928", "ACC778B99", "ALONSO", "LU, MEI"])  # fmt: skip
def test_identifiers_are_known_as_readers_misread_them(words):
    assert known_in(KNOWN, words)


@pytest.mark.parametrize("words", ["LIVER RT", "120 kV", "IMG 12/64", "LUNG", "WL 40 WW 400", "R", "2024", "FLUID", "MEDIUM"])
def test_other_words_are_not(words):
    assert not known_in(KNOWN, words)


@pytest.mark.parametrize("words", ["120 kV", "R", "WW 400 WL: 40", "3.3 cm", "12 x 8 mm", "CTDIvol 12.5 mGy", "64%", "TIs 0.4 MI 1.4",
                                   "DLP 512.3 mGy*cm", "Frame 3/60", "512x512", "5-mAs-", "5=mAs-"])  # fmt: skip
def test_technical_text(words):
    assert is_technical(words)


@pytest.mark.parametrize("words", ["Quixano", "20240229", "29/02/2024", "10:15:00", "12345678", "Argamasilla 120 kV", "M/72", "4711-77", "12-Alonso-"])
def test_text_that_is_not_technical(words):
    assert not is_technical(words)


@pytest.mark.parametrize(("words", "score", "look", "fate"), [
    ("120 kV", 0.99, Look.ALL, Fate.TEXT), ("120 kV", 0.99, Look.READ, Fate.TECHNICAL), ("Mrs. Panza", 0.9, Look.READ, Fate.FORM),
    ("Quixano", 0.2, Look.READ, Fate.IDENTIFIER), ("0da", 0.3, Look.READ, Fate.UNSURE), ("la", 0.3, Look.ALL, Fate.UNSURE),
    ("000", 0.96, Look.ALL, Fate.UNSURE),
    ("Teresa", 0.9, Look.READ, Fate.UNKNOWN), ("", 0.0, Look.ALL, Fate.UNSURE),
])  # fmt: skip
def test_fates(words, score, look, fate):
    text = Text(Box(5, 5, 20, 60), words, score)
    assert Judge(KNOWN).fate(text, Risk(look, "")) is fate
    assert words not in repr(text) or not words
    if fate is Fate.TEXT:
        inside = Risk(look, "", (Box(0, 0, 100, 100),))
        assert Judge(KNOWN).fate(text, inside) is Judge(KNOWN, keep_technical=True).fate(text, Risk(look, "")) is Fate.TECHNICAL
