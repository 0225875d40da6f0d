"""Pictures and PDFs beside the images: valid, referring to their source, back from Orthanc and dcmtk as they went."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.archives.archive import open_archive
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.objects.capture import write_capture
from ailab_kernel.objects.pdf import read_pdf, write_pdf
from ailab_kernel.volumes.series import volume_from_datasets
from tests.objects.drawings import PLACE, PROVENANCE, complaints, encoded
from tests.services import need_service, orthanc
from tests.volumes.synthetic import series

GREY = (np.arange(33 * 21) % 251).astype(np.uint8).reshape(33, 21)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
PICTURES = {"grey": GREY, "rgb": RGB, "greys": [GREY, GREY[::-1], GREY // 2], "rgbs": (RGB, RGB[::-1])}
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@pytest.fixture(scope="module")
def vol():
    return volume_from_datasets(series(PLACE))


@pytest.mark.parametrize("name", list(PICTURES))
def test_a_picture_comes_back(vol, name, tmp_path):
    written = write_capture(PICTURES[name], vol, PROVENANCE, burned_in=name == "rgb")
    ds = read_dataset(encoded(written))
    assert np.array_equal(ds.pixel_array, np.array(PICTURES[name]))
    assert ds.StudyInstanceUID == vol.study_uid
    assert {item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence} == set(vol.instance_uids)
    assert ds.BurnedInAnnotation == ("YES" if name == "rgb" else "NO")
    assert complaints(written, tmp_path) == []


def test_a_picture_of_some_slices_refers_to_them(vol):
    ds = write_capture(GREY, vol, PROVENANCE, slices=[3, 1], number=4)
    assert [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence] == [
        vol.instance_uids[3],
        vol.instance_uids[1],
    ]
    assert ds.InstanceNumber == 4
    with pytest.raises(ObjectError, match="a volume of 7"):
        write_capture(GREY, vol, PROVENANCE, slices=[7])


def test_equal_pictures_are_equal_objects(vol):
    one, other = write_capture(RGB, vol, PROVENANCE), write_capture(RGB.copy(), vol, PROVENANCE)
    assert encoded(one) == encoded(other)
    different = write_capture(RGB[::-1], vol, PROVENANCE)
    assert different.SOPInstanceUID != one.SOPInstanceUID
    assert different.SeriesInstanceUID == one.SeriesInstanceUID


@pytest.mark.parametrize("picture", [
    GREY.astype(np.uint16), GREY[0], np.zeros((3, 4, 4), np.uint8), [], [GREY, GREY[1:]], np.zeros((0, 4), np.uint8),
])  # fmt: skip
def test_what_is_no_picture_is_told(vol, picture):
    with pytest.raises(ObjectError, match="uint8 of shape"):
        write_capture(picture, vol, PROVENANCE)


@pytest.mark.parametrize("name", ["grey", "rgb"])
def test_dcmtk_shows_the_same_picture(vol, name, tmp_path):
    need_service("dcmj2pnm", package="dcmtk")
    (tmp_path / "picture.dcm").write_bytes(encoded(write_capture(PICTURES[name], vol, PROVENANCE)))
    subprocess.run(["dcmj2pnm", "--write-raw-pnm", tmp_path / "picture.dcm", tmp_path / "picture.pnm"], check=True)
    pixels = (tmp_path / "picture.pnm").read_bytes()[-np.asarray(PICTURES[name]).size :]
    assert np.array_equal(np.frombuffer(pixels, np.uint8).reshape(PICTURES[name].shape), PICTURES[name])


@pytest.mark.parametrize("pdf", [PDF, PDF.replace(b"1.4", b"1.40")])
def test_a_pdf_comes_back(vol, pdf, tmp_path):
    written = write_pdf(pdf, vol, PROVENANCE, title="Prüfbericht")
    ds = read_dataset(encoded(written))
    assert read_pdf(ds) == pdf
    assert ds.DocumentTitle == "Prüfbericht"
    assert {item.ReferencedSOPInstanceUID for item in ds.SourceInstanceSequence} == set(vol.instance_uids)
    assert complaints(written, tmp_path) == []
    assert encoded(written) == encoded(write_pdf(pdf, vol, PROVENANCE, title="Prüfbericht"))


@pytest.mark.parametrize("pdf", [PDF, PDF.replace(b"1.4", b"1.40")])
def test_dcmtk_takes_the_pdf_out_again(vol, tmp_path, pdf):
    need_service("dcm2pdf", package="dcmtk")
    (tmp_path / "report.dcm").write_bytes(encoded(write_pdf(pdf, vol, PROVENANCE)))
    subprocess.run(["dcm2pdf", tmp_path / "report.dcm", tmp_path / "report.pdf"], check=True, capture_output=True)
    assert (tmp_path / "report.pdf").read_bytes() == pdf


def test_what_is_no_pdf_is_told(vol):
    with pytest.raises(ObjectError, match="%PDF-"):
        write_pdf(b"<html>", vol, PROVENANCE)
    with pytest.raises(ObjectError, match="not an encapsulated PDF"):
        read_pdf(vol.headers[0])


@pytest.mark.parametrize(
    "write", [lambda vol: write_pdf(PDF, vol, PROVENANCE), lambda vol: write_capture(GREY, vol, PROVENANCE)]
)
def test_without_images_there_is_nothing_to_refer_to(vol, write):
    with pytest.raises(ObjectError, match="NIfTI"):
        write(replace(vol, headers=()))


def test_orthanc_gives_back_what_it_got(vol, tmp_path):
    written = [
        write_pdf(PDF, vol, PROVENANCE),
        *(write_capture(picture, vol, PROVENANCE) for picture in PICTURES.values()),
    ]
    with orthanc(tmp_path / "orthanc") as server:
        archive = open_archive(server.url)
        assert not archive.store(written).refused
        back = {
            str(ds.SOPInstanceUID): ds for one in archive.search_series(vol.study_uid) for ds in archive.retrieve(one)
        }
    assert read_pdf(back[written[0].SOPInstanceUID]) == PDF
    for ds, picture in zip(written[1:], PICTURES.values(), strict=True):
        assert np.array_equal(back[ds.SOPInstanceUID].pixel_array, np.array(picture))
