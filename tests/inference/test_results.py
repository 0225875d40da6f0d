"""What the archive keeps: derived UIDs, the source referenced, a repeat equal byte for byte."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from pypdf import PdfReader

from ailab_kernel.datasets.phantoms import make, random_phantom, to_dicom
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.inference import write_results
from ailab_kernel.models.registry import base_bundle
from ailab_kernel.objects.pdf import read_pdf
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.recipes import find
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.series import volume_from_datasets

WHEN = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def source():
    images, _ = to_dicom(make(random_phantom(5, style="university", size=(20, 48, 48))))
    return volume_from_datasets(images)


@pytest.fixture(scope="module")
def mask(source) -> Mask:
    array = np.zeros(source.array.shape, np.uint8)
    array[4:15, 10:30, 8:20] = 1
    return Mask(array, source.grid, find("lungs").labels)


def bytes_of(ds) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def test_seg_and_sr_reference_the_source_and_hold_the_mask(source, mask):
    seg, sr = write_results(mask, source, base_bundle("lungs"), when=WHEN, engine="openvino")
    assert (seg.Modality, sr.Modality) == ("SEG", "SR")
    assert seg.StudyInstanceUID == sr.StudyInstanceUID == source.study_uid
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.series_uid
    np.testing.assert_array_equal(read_seg(seg, source).array, mask.array)


def test_a_repeat_is_equal_byte_for_byte(source, mask):
    first = write_results(mask, source, base_bundle("lungs"), when=WHEN, engine="openvino")
    again = write_results(mask, source, base_bundle("lungs"), when=WHEN, engine="openvino")
    assert [bytes_of(ds) for ds in first] == [bytes_of(ds) for ds in again]


def test_another_engine_model_or_source_has_other_uids(source, mask):
    bundle = base_bundle("lungs")
    uids = {ds.SOPInstanceUID for ds in write_results(mask, source, bundle, when=WHEN, engine="openvino")}
    for vol, model, engine in ((source, bundle, "torch"), (source, replace(bundle, version=2), "openvino"),
                               (replace(source, series_uid="2.25.7"), bundle, "openvino")):  # fmt: skip
        others = {ds.SOPInstanceUID for ds in write_results(mask, vol, model, when=WHEN, engine=engine)}
        assert not uids & others
    later = write_results(mask, source, bundle, when=WHEN.replace(hour=10), engine="openvino")
    assert not uids & {ds.SOPInstanceUID for ds in later}, "recorded anew, it would meet its former self as a conflict"


def test_one_page_for_people_says_what_was_found_and_names_nobody(source, mask):
    first, again = (write_results(mask, source, base_bundle("lungs"), when=WHEN, engine="openvino").pdf for _ in range(2))
    assert bytes_of(first) == bytes_of(again)
    assert first.StudyInstanceUID == source.study_uid
    assert {item.ReferencedSOPInstanceUID for item in first.SourceInstanceSequence} == {str(ds.SOPInstanceUID) for ds in source.headers}
    page = PdfReader(io.BytesIO(read_pdf(first)))
    assert len(page.pages) == 1
    text = page.pages[0].extract_text()
    assert f"{next(iter(mask.volumes_ml().values())):.1f} ml" in text
    assert "Nobody has looked at it" in text
    assert len(page.pages[0].images) == 3
    patient = source.headers[0]
    told = text + str(page.metadata)
    assert not [word for word in (patient.PatientName, patient.PatientID, patient.AccessionNumber) if str(word) and str(word) in told]


def test_a_page_keeps_to_what_its_fonts_can_write_and_to_its_length(source):
    labels = tuple(Label(n, f"лёгкое-{n}", LUNG) for n in range(1, 31))
    array = np.zeros(source.array.shape, np.uint8)
    array.reshape(-1)[:30] = range(1, 31)
    pdf = write_results(Mask(array, source.grid, labels), source, base_bundle("lungs"), when=WHEN).pdf
    page = PdfReader(io.BytesIO(read_pdf(pdf)))
    assert len(page.pages) == 1
    assert "and 10 more labels" in page.pages[0].extract_text()
