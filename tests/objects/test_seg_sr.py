import gzip
import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import DicomError, ObjectError
from ailab_kernel.objects.seg import read_seg, read_segments, write_seg
from ailab_kernel.objects.sr import read_sr_volumes, write_sr
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.nifti import mask_from_nifti
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder
from tests.objects.drawings import LABELS, PLACE, PROVENANCE, complaints, encoded, two_labels
from tests.volumes.synthetic import grid, series
from tests.volumes.test_resample import turned


@pytest.fixture
def vol():
    return volume_from_datasets(series(PLACE))


@pytest.fixture
def mask():
    return two_labels()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_a_seg_comes_back_voxel_for_voxel(vol, mask, kind):
    seg = read_dataset(encoded(write_seg(mask, vol, PROVENANCE, kind=kind)))
    again = read_seg(seg, vol)
    assert np.array_equal(again.array, mask.array)
    assert [(label.name, label.code) for label in again.labels] == [(label.name, label.code) for label in LABELS]
    assert {item.SeriesInstanceUID for item in seg.ReferencedSeriesSequence} == {vol.series_uid}
    assert seg.FrameOfReferenceUID == vol.frame_of_reference_uid


def test_a_repeat_is_equal_byte_for_byte(vol, mask):
    one = write_seg(mask, vol, PROVENANCE)
    report = write_sr(mask, vol, PROVENANCE, seg=one)
    time.sleep(1.1)
    other = write_seg(mask, volume_from_datasets(series(PLACE)), PROVENANCE)
    assert encoded(one) == encoded(other)
    assert encoded(report) == encoded(write_sr(mask, vol, PROVENANCE, seg=other))


def test_nothing_found_is_a_result(vol):
    empty = Mask(np.zeros(PLACE.shape, np.uint8), PLACE, LABELS)
    seg = write_seg(empty, vol, PROVENANCE)
    assert read_seg(seg, vol).array.sum() == 0
    assert read_sr_volumes(write_sr(empty, vol, PROVENANCE, seg=seg)) == {"heart-wall": 0, "heart-cavity": 0}


def test_volumes_in_the_report(vol, mask):
    sr = read_dataset(encoded(write_sr(mask, vol, PROVENANCE, seg=write_seg(mask, vol, PROVENANCE))))
    assert read_sr_volumes(sr) == pytest.approx(mask.volumes_ml(), abs=1e-3)


def test_what_cannot_be_written_is_told(vol, mask):
    with pytest.raises(ObjectError, match="NIfTI"):
        write_seg(mask, replace(vol, headers=()), PROVENANCE)
    with pytest.raises(ObjectError, match="resample"):
        write_seg(Mask(mask.array[1:], grid(shape=(6, 10, 12)), LABELS), vol, PROVENANCE)
    with pytest.raises(ObjectError, match="not a DICOM Segmentation"):
        read_seg(vol.headers[0], vol)
    with pytest.raises(ObjectError, match="not a structured report"):
        read_sr_volumes(vol.headers[0])


def test_a_seg_of_another_place_is_refused(vol, mask):
    seg = write_seg(mask, vol, PROVENANCE)
    half = PLACE.affine.copy()
    half[:3, 3] += half[:3, 2] / 2
    with pytest.raises(ObjectError, match="between the voxels"):
        read_seg(seg, type(PLACE)(PLACE.shape, half))
    with pytest.raises(ObjectError, match="beyond this grid"):
        read_seg(seg, type(PLACE)((2, 3, 3), PLACE.affine))


@pytest.mark.parametrize("kind", ["AUTOMATIC", "MANUAL"])
def test_dciodvfy_finds_no_error(vol, mask, tmp_path, kind):
    provenance = replace(PROVENANCE, kind=kind)
    seg = write_seg(mask, vol, provenance)
    for ds in (seg, write_sr(mask, vol, provenance, seg=seg)):
        assert complaints(ds, tmp_path) == []


def test_dcmqi_reads_the_same_voxels(vol, mask, tmp_path):
    program = Path(sys.executable).with_name("segimage2itkimage")
    assert shutil.which(program), "dcmqi is in the lock"
    write_seg(mask, vol, PROVENANCE).save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    subprocess.run([program, "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path, "-t", "nifti"],
                   check=True, capture_output=True)  # fmt: skip
    for number, path in enumerate(sorted(tmp_path.glob("*.nii.gz")), 1):
        theirs = mask_from_nifti(path, ())
        ours = to_grid((theirs.array > 0).astype(np.uint8), theirs.grid, PLACE, mode="nearest")
        assert np.array_equal(ours > 0, mask.array == number)


def test_segs_of_dcmqi(shared_data):
    folder = shared_data / "dcmqi_seg" / "data" / "segmentations"
    found = volumes_from_folder(folder / "ct-3slice")
    vol = found.volumes[0]
    liver = read_seg(read_dataset(folder / "liver.dcm"), vol)
    assert int((liver.array > 0).sum()) == 107098
    overlaps = read_dataset(folder / "partial_overlaps.dcm")
    assert len(read_segments(overlaps, vol.grid)) == 5
    with pytest.raises(ObjectError, match="overlap"):
        read_seg(overlaps, vol)


def nrrd(path):
    """A compressed NRRD as `Mask`; its axes run the other way round, its world is LPS as ours."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    told = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line and line[0] != "#")
    array = np.frombuffer(gzip.decompress(body), {"short": "<i2", "unsigned char": "u1"}[told["type"]])
    shape = tuple(map(int, told["sizes"].split()))[::-1]
    axes = [[float(v) for v in axis.strip("()").split(",")] for axis in told["space directions"].split()]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (
        np.array(axes[::-1]).T,
        [float(v) for v in told["space origin"].strip("()").split(",")],
    )
    return Mask(array.reshape(shape).astype(np.uint8), Grid(shape, affine))


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize(("organ", "voxels"), [("liver", 107098), ("heart", 41449), ("spine", 12439)])
def test_what_dcmqi_writes_is_read(shared_data, tmp_path, organ, voxels, kind):
    folder = shared_data / "dcmqi_seg" / "data" / "segmentations"
    drawn = nrrd(folder / f"{organ}_seg.nrrd")
    value = int(drawn.array.max())
    code = {"CodeValue": "85756007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Tissue"}
    segment = {"labelID": value, "SegmentLabel": organ, "SegmentAlgorithmType": "MANUAL",
               "SegmentedPropertyCategoryCodeSequence": code, "SegmentedPropertyTypeCodeSequence": code}  # fmt: skip
    told = {"ContentCreatorName": "Reader1", "SeriesNumber": "300", "InstanceNumber": "1", "SeriesDescription": organ,
            "segmentAttributes": [[segment]]}  # fmt: skip
    (tmp_path / "told.json").write_text(json.dumps(told))
    subprocess.run(
        [Path(sys.executable).with_name("itkimage2segimage"), "--inputImageList", folder / f"{organ}_seg.nrrd",
         "--inputDICOMDirectory", folder / "ct-3slice", "--inputMetadata", tmp_path / "told.json",
         "--outputDICOM", tmp_path / "seg.dcm", "--segmentationType", kind, "--skip", "1"],
        check=True, capture_output=True,
    )  # fmt: skip
    vol = volumes_from_folder(folder / "ct-3slice").volumes[0]
    mask = read_seg(read_dataset(tmp_path / "seg.dcm"), vol)
    assert int((mask.array > 0).sum()) == voxels
    assert [label.name for label in mask.labels] == [organ]
    assert np.array_equal(to_grid(mask.array, mask.grid, drawn.grid, mode="nearest") > 0, drawn.array > 0)


@pytest.mark.parametrize("kind", ["noppv", "ppv5"])
def test_label_maps_of_dcmqi_with_holes_between_slices(shared_data, kind):
    folder = shared_data / "dcmqi_seg" / "data" / "segmentations"
    drawn = nrrd(folder / f"sparse_labelmap_{kind}_seg.nrrd")
    found = read_seg(read_dataset(folder / f"sparse-labelmap-{kind}.dcm"), drawn.grid)
    # Where there is no frame dcmqi writes the file's own background value, here 5.
    assert np.array_equal(found.array, drawn.array == 1)


def test_a_label_map_chooses_its_background(vol, mask):
    seg = read_dataset(encoded(write_seg(mask, vol, PROVENANCE, kind="LABELMAP")))
    pixels = np.frombuffer(seg.PixelData, np.uint8).copy()
    pixels[pixels == 0] = 9
    seg.PixelData, seg.PixelPaddingValue = pixels.tobytes(), 9
    assert np.array_equal(read_seg(seg, vol).array, mask.array)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_a_seg_is_read_onto_axes_of_any_order_and_direction(vol, mask, axes, flips):
    place = turned(PLACE, axes, flips)
    again = read_seg(write_seg(mask, vol, PROVENANCE), place)
    expected = mask.array.transpose(axes)[tuple(slice(None, None, sign) for sign in flips)]
    assert np.array_equal(again.array, expected)


def test_values_without_a_label_are_not_dropped(vol, mask):
    with pytest.raises(ObjectError, match=r"the values \[2\] without a label"):
        write_seg(Mask(mask.array, PLACE, LABELS[:1]), vol, PROVENANCE)
    with pytest.raises(ObjectError, match="no labels"):
        write_seg(Mask(np.zeros(PLACE.shape, np.uint8), PLACE), vol, PROVENANCE)


def test_a_seg_of_another_frame_of_reference_is_refused(vol, mask):
    seg = write_seg(mask, vol, PROVENANCE)
    seg.FrameOfReferenceUID = "1.2.3"
    with pytest.raises(ObjectError, match=r"frame of reference 1\.2\.3"):
        read_seg(seg, vol)
    assert np.array_equal(read_seg(seg, vol.grid).array, mask.array)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Müller^Jörg"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("", "Smith^John"),
    ],
)
def test_a_name_in_any_character_set_comes_along(mask, charset, name):
    read = []
    for ds in series(PLACE):
        ds.SpecificCharacterSet, ds.PatientName = charset, name
        read.append(read_dataset(encoded(ds)))
    vol = volume_from_datasets(read)
    provenance = replace(PROVENANCE, series_description="Hjertevæg")
    seg = write_seg(mask, vol, provenance)
    for ds in (seg, write_sr(mask, vol, provenance, seg=seg)):
        again = read_dataset(encoded(ds))
        assert (again.PatientName, again.SeriesDescription) == (name, "Hjertevæg")
    assert vol.headers[0].get("SpecificCharacterSet") == read[0].get("SpecificCharacterSet"), (
        "the volume's stay as they are"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"PatientSex": "X", "PatientBirthDate": "0000", "StudyDate": "yesterday", "StudyTime": "99"},
        dict.fromkeys(
            (
                "PatientName",
                "PatientID",
                "PatientBirthDate",
                "PatientSex",
                "StudyDate",
                "StudyTime",
                "StudyID",
                "AccessionNumber",
                "ReferringPhysicianName",
                "FrameOfReferenceUID",
                "SOPClassUID",
            )
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom comments on the values that this test is about
def test_headers_with_gaps_and_odd_values_carry_a_seg(mask, change):
    datasets = series(PLACE)
    for ds in datasets:
        for keyword, value in change.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
    vol = volume_from_datasets(datasets)
    seg = write_seg(mask, vol, PROVENANCE)
    sr = read_dataset(encoded(write_sr(mask, vol, PROVENANCE, seg=seg)))
    assert np.array_equal(read_seg(read_dataset(encoded(seg)), vol).array, mask.array)
    assert read_sr_volumes(sr) == pytest.approx(mask.volumes_ml(), abs=1e-3)


@pytest.mark.parametrize("name", ["totalseg_ref/dicom20", "dicom2nifti", "dcmqi_seg", "ctimage_ts", "cip_chest"])
def test_real_series_carry_a_seg(shared_data, name):
    volumes = volumes_from_folder(shared_data / name).volumes
    assert volumes
    for vol in volumes:
        array = np.zeros(vol.grid.shape, np.uint8)
        array[:, : array.shape[1] // 2, : array.shape[2] // 3] = 1
        seg = write_seg(Mask(array, vol.grid, LABELS), vol, PROVENANCE)
        assert np.array_equal(read_seg(read_dataset(encoded(seg)), vol).array, array)
        assert encoded(write_sr(Mask(array, vol.grid, LABELS), vol, PROVENANCE, seg=seg))


def test_long_names_are_cut_where_the_standard_ends_them(vol, mask):
    long = replace(PROVENANCE, algorithm="a" * 80, version="1" * 80, series_description="d" * 80)
    named = Mask(mask.array, PLACE, (replace(LABELS[0], name="n" * 80), LABELS[1]))
    seg = read_dataset(encoded(write_seg(named, vol, long)))
    assert {len(seg.SeriesDescription), len(seg.ManufacturerModelName), len(seg.SoftwareVersions)} == {64}
    assert read_sr_volumes(write_sr(named, vol, long, seg=seg))["n" * 80] == pytest.approx(
        mask.volumes_ml()["heart-wall"], abs=1e-3
    )


def test_a_label_map_is_another_object(vol, mask):
    assert (
        write_seg(mask, vol, PROVENANCE, kind="LABELMAP").SOPInstanceUID
        != write_seg(mask, vol, PROVENANCE).SOPInstanceUID
    )


SEG_BYTES = encoded(write_seg(Mask(np.eye(10, 12, dtype=np.uint8)[None].repeat(7, 0), PLACE, LABELS[:1]),
                              volume_from_datasets(series(PLACE)), PROVENANCE))  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(132, len(SEG_BYTES) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_seg_is_one_error_or_none(changes):
    data = bytearray(SEG_BYTES)
    for place, value in changes:
        data[place] = value
    with suppress(ObjectError, DicomError):
        read_seg(read_dataset(bytes(data)), PLACE)
