import gzip
import subprocess
import sys
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.nifti import mask_from_nifti, mask_to_nifti, volume_from_nifti, volume_to_nifti
from ailab_kernel.volumes.nifti_header import CODES, OFFSET, header, to_ras
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder
from ailab_kernel.volumes.stream import save
from ailab_kernel.volumes.volume import Volume

from .synthetic import grid, series


def volume(dtype="i2", shape=(5, 6, 7), **more) -> Volume:
    return Volume(np.arange(np.prod(shape)).reshape(shape).astype(dtype), grid(shape=shape), **more)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_round_trip(tmp_path, name):
    vol = volume_from_datasets(series())
    volume_to_nifti(vol, tmp_path / name)
    again = volume_from_nifti(tmp_path / name)
    assert np.array_equal(again.array, vol.array)
    assert np.allclose(again.values, vol.values)
    assert again.grid.matches(vol.grid)
    assert again.array.flags.c_contiguous
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is left behind"


@pytest.mark.parametrize("kind", CODES)
def test_every_kind_of_number_comes_back(tmp_path, kind):
    vol = volume(kind, slope=0.5, intercept=-3.25)
    volume_to_nifti(vol, tmp_path / "v.nii")
    again = volume_from_nifti(tmp_path / "v.nii")
    assert np.array_equal(again.array, vol.array)
    assert again.array.dtype == (np.dtype("i2") if kind == "u2" else np.dtype(kind))
    assert (again.slope, again.intercept) == (0.5, -3.25)
    theirs = nibabel.load(tmp_path / "v.nii")
    assert np.array_equal(theirs.get_fdata().transpose(2, 1, 0)[:, ::-1], vol.array * 0.5 - 3.25)


def test_unsigned_values_beyond_a_signed_one_stay_unsigned(tmp_path):
    vol = volume("u2").with_array(np.full((5, 6, 7), 40000, np.uint16))
    volume_to_nifti(vol, tmp_path / "v.nii")
    assert nibabel.load(tmp_path / "v.nii").get_data_dtype() == np.uint16


def test_a_rescale_by_slice_is_applied(tmp_path):
    slope = np.linspace(0.3, 1.7, 5).reshape(-1, 1, 1)
    for vol in (volume(slope=slope, intercept=2.0), volume(slope=1.5, intercept=slope), volume(slope=slope, intercept=-slope)):
        volume_to_nifti(vol, tmp_path / "v.nii")
        again = volume_from_nifti(tmp_path / "v.nii")
        assert again.array.dtype == np.float32
        assert np.array_equal(again.array, vol.values)
        assert (again.slope, again.intercept) == (1.0, 0.0)


def test_what_nifti_cannot_hold_is_told(tmp_path):
    for vol in (volume(slope=1e-60), volume("f2"), volume(shape=(1, 1, 40000))):
        with pytest.raises(VolumeError, match="NIfTI-1 cannot hold"):
            volume_to_nifti(vol, tmp_path / "v.nii")
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.3, 9)] * 3), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_sform_and_qform_say_where_the_grid_lies(turn, spacing, flips):
    place = grid(turn=turn, spacing=spacing)
    place = Grid(place.shape, place.affine @ np.diag([*flips, 1]))
    told = nibabel.Nifti1Header(header(place, np.dtype("i2"))[:348])
    corners = np.array([[*np.multiply(at, (6, 5, 4)), 1] for at in np.ndindex(2, 2, 2)])
    for affine, within in ((told.get_sform(), 1e-4), (told.get_qform(), 1e-4 + 6e-4 * 90)):
        assert np.abs(corners @ (affine - to_ras(place)).T).max() < within
    assert told.get_zooms() == pytest.approx(spacing[::-1])


def test_a_sheared_grid_has_no_qform():
    place = grid()
    shear = np.eye(4)
    shear[1, 0] = 0.3
    told = nibabel.Nifti1Header(header(Grid(place.shape, place.affine @ shear), np.dtype("i2"))[:348])
    assert (told["qform_code"], told["sform_code"]) == (0, 1)


def test_masks_are_equal_byte_for_byte(tmp_path):
    label = Label(1, "lung", LUNG)
    array = np.zeros(grid().shape, np.uint8)
    array[1:3, 2:5, 1:6] = 1
    for name in ("a.nii.gz", "b.nii.gz"):
        mask_to_nifti(Mask(array, grid(), (label,)), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    again = mask_from_nifti(tmp_path / "a.nii.gz", (label,))
    assert np.array_equal(again.array, array)
    assert again.array.dtype == np.uint8
    assert again.grid.matches(grid())


def test_a_mask_of_many_labels(tmp_path):
    array = np.arange(np.prod(grid().shape), dtype=np.uint16).reshape(grid().shape) * 100
    mask_to_nifti(Mask(array, grid()), tmp_path / "m.nii.gz")
    again = mask_from_nifti(tmp_path / "m.nii.gz", ())
    assert np.array_equal(again.array, array)
    assert again.array.dtype == np.uint16


def test_values_that_are_no_labels_are_told(tmp_path):
    for values in (-1.0, 0.5, 70000.0, np.nan):
        array = np.zeros((5, 6, 7), np.float32)
        array[2, 3, 4] = values
        nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "m.nii")
        with pytest.raises(VolumeError, match="no label map"):
            mask_from_nifti(tmp_path / "m.nii", ())


def test_what_is_no_nifti_is_told(tmp_path):
    (tmp_path / "x.nii").write_bytes(b"hello")
    (tmp_path / "y.txt").write_text("hello")
    for name in ("x.nii", "y.txt", "absent.nii"):
        with pytest.raises(VolumeError, match="NIfTI"):
            volume_from_nifti(tmp_path / name)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_cut_off_nifti_is_told(tmp_path, name):
    volume_to_nifti(volume_from_datasets(series()), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole) - 8, 7):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(VolumeError):
            volume_from_nifti(tmp_path / name)
        with pytest.raises(VolumeError):
            mask_from_nifti(tmp_path / name, ())


class TestGzip:
    """One member, readable by anything, whatever the number of parts."""

    @pytest.mark.parametrize("sizes", [[], [0], [1], [70_000, 1, 0, 300_000], [5] * 40])
    def test_parts_are_one_member(self, tmp_path, sizes):
        rng = np.random.default_rng(len(sizes))
        parts = [rng.integers(0, 9, size, np.uint8) for size in sizes]
        for name in ("a.gz", "b.gz"):
            save(tmp_path / name, b"head", parts.__getitem__, parts=len(parts))
        data, expected = (tmp_path / "a.gz").read_bytes(), b"head" + b"".join(part.tobytes() for part in parts)
        assert gzip.decompress(data) == expected
        member = zlib.decompressobj(31)
        assert member.decompress(data) == expected
        assert member.eof
        assert member.unused_data == b"", "a second member would be left over"
        assert data == (tmp_path / "b.gz").read_bytes()
        assert subprocess.run(["gzip", "-t", tmp_path / "a.gz"], check=False).returncode == 0

    @pytest.mark.parametrize("durable", [True, False])
    def test_large_files_are_whole(self, tmp_path, durable):
        parts = [np.full(5 << 20, number, np.uint8) for number in range(9)]
        for name, opened in (("a.nii", open), ("a.nii.gz", gzip.open)):
            save(tmp_path / name, b"head", parts.__getitem__, parts=9, durable=durable)
            with opened(tmp_path / name, "rb") as file:
                assert file.read() == b"head" + b"".join(part.tobytes() for part in parts)

    def test_a_failure_leaves_the_old_file(self, tmp_path):
        def part(number):
            if number == 3:
                msg = "no more"
                raise VolumeError(msg)
            return np.zeros(1000, np.uint8)

        for name in ("v.nii", "v.nii.gz"):
            (tmp_path / name).write_bytes(b"old")
            with pytest.raises(VolumeError, match="no more"):
                save(tmp_path / name, b"", part, parts=9)
            assert (tmp_path / name).read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2

    def test_few_parts_are_held_at_a_time(self, tmp_path):
        made, written = [], tmp_path / "v.nii"

        def part(number):
            made.append(number)
            return np.zeros(1 << 16, np.uint8)

        import tracemalloc

        tracemalloc.start()
        save(written, b"", part, parts=400)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(made) == 400
        assert written.stat().st_size == 400 << 16
        assert peak < 60 << 16


class TestReading:
    """What NIfTI files of others may say."""

    def image(self, array=None, affine=None, kind=nibabel.Nifti1Image):
        array = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7) if array is None else array
        return kind(array, to_ras(grid(shape=array.shape[2::-1])) if affine is None else affine)

    def test_one_of_several_volumes(self, tmp_path):
        array = np.arange(5 * 6 * 7 * 3, dtype=np.int16).reshape(5, 6, 7, 3)
        for name in ("v.nii", "v.nii.gz"):
            self.image(array).to_filename(tmp_path / name)
            with pytest.raises(VolumeError, match=r"3 volumes; choose one, index=0 to 2"):
                volume_from_nifti(tmp_path / name)
            with pytest.raises(VolumeError, match="has 3: index 0 to 2"):
                volume_from_nifti(tmp_path / name, index=3)
            uids = set()
            for index in range(3):
                vol = volume_from_nifti(tmp_path / name, index=index)
                uids.add(vol.series_uid)
                assert np.array_equal(vol.array[:, ::-1].transpose(2, 1, 0), array[..., index])
                assert np.array_equal(mask_from_nifti(tmp_path / name, (), index=index).array, vol.array)
            assert len(uids) == 3

    def test_dimensions_of_one(self, tmp_path):
        self.image(np.ones((5, 6, 7, 1, 1), np.int16)).to_filename(tmp_path / "v.nii")
        assert volume_from_nifti(tmp_path / "v.nii").array.shape == (7, 6, 5)

    def test_several_dimensions_more(self, tmp_path):
        self.image(np.ones((5, 6, 7, 2, 3), np.int16)).to_filename(tmp_path / "v.nii")
        with pytest.raises(VolumeError, match="three-dimensional"):
            volume_from_nifti(tmp_path / "v.nii", index=0)

    @pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.Nifti1Pair])
    @pytest.mark.parametrize("order", "<>")
    def test_either_byte_order_and_version(self, tmp_path, kind, order):
        image = self.image(kind=kind)
        head = kind.header_class(endianness=order)
        head.set_data_dtype(np.int16)
        image = kind(np.asarray(image.dataobj), image.affine, head)
        assert image.header.endianness == order
        name = "v.img" if kind is nibabel.Nifti1Pair else "v.nii"
        image.to_filename(tmp_path / name)
        vol = volume_from_nifti(tmp_path / name)
        assert vol.array.dtype == np.dtype("=i2")
        assert np.array_equal(vol.array[:, ::-1].transpose(2, 1, 0), image.dataobj)
        assert vol.grid.matches(grid(shape=(7, 6, 5)))

    def test_analyze_is_refused(self, tmp_path):
        nibabel.AnalyzeImage(np.zeros((5, 6, 7), np.int16), np.eye(4)).to_filename(tmp_path / "v.img")
        with pytest.raises(VolumeError, match="left and right"):
            volume_from_nifti(tmp_path / "v.img")

    @pytest.mark.parametrize("slope", [0.0, np.nan])
    def test_a_slope_of_nothing_is_none(self, tmp_path, slope):
        volume_to_nifti(volume(), tmp_path / "v.nii")
        data = bytearray((tmp_path / "v.nii").read_bytes())
        data[112:120] = np.array([slope, 7], "<f4").tobytes()
        (tmp_path / "v.nii").write_bytes(data)
        vol = volume_from_nifti(tmp_path / "v.nii")
        assert (vol.slope, vol.intercept) == (1.0, 0.0)

    def test_two_places(self, tmp_path):
        image = self.image()
        moved = image.affine.copy()
        moved[0, 3] += 3
        image.set_sform(image.affine, 1)
        image.set_qform(moved, 1)
        image.to_filename(tmp_path / "v.nii")
        with pytest.raises(VolumeError, match=r"sform \(code 1\) and the qform \(code 1\).* 3 mm apart; name the one"):
            volume_from_nifti(tmp_path / "v.nii")
        by = {form: volume_from_nifti(tmp_path / "v.nii", form=form).grid for form in ("sform", "qform")}
        assert by["sform"].matches(grid(shape=(7, 6, 5)))
        assert by["qform"].affine[0, 3] - by["sform"].affine[0, 3] == pytest.approx(-3, abs=1e-3)

    def test_no_place(self, tmp_path):
        image = self.image()
        image.set_sform(None, 0)
        image.set_qform(None, 0)
        image.to_filename(tmp_path / "v.nii")
        with pytest.raises(VolumeError, match="left and right are unknown"):
            volume_from_nifti(tmp_path / "v.nii")
        with pytest.raises(VolumeError, match="by its qform"):
            volume_from_nifti(tmp_path / "v.nii", form="qform")
        assert volume_from_nifti(tmp_path / "v.nii", form="none").spacing_mm == pytest.approx((3.7, 1.3, 0.9))

    def test_a_flat_affine(self, tmp_path):
        volume_to_nifti(volume(), tmp_path / "v.nii")
        data = bytearray((tmp_path / "v.nii").read_bytes())
        data[252:254], data[280:328] = bytes(2), bytes(48)
        (tmp_path / "v.nii").write_bytes(data)
        with pytest.raises(VolumeError, match="no place"):
            volume_from_nifti(tmp_path / "v.nii")

    def test_colors_are_refused(self, tmp_path):
        volume_to_nifti(volume(), tmp_path / "v.nii")
        data = bytearray((tmp_path / "v.nii").read_bytes())
        data[70:74] = np.array([128, 24], "<i2").tobytes()
        (tmp_path / "v.nii").write_bytes(data + bytes(5 * 6 * 7))
        with pytest.raises(VolumeError, match="one number a voxel"):
            volume_from_nifti(tmp_path / "v.nii")

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, OFFSET - 1), st.integers(0, 255))
    def test_a_mutated_header_is_read_or_refused(self, tmp_path_factory, at, value):
        path = tmp_path_factory.getbasetemp() / "mutated.nii"
        volume_to_nifti(volume(), path)
        data = bytearray(path.read_bytes())
        data[at] = value
        path.write_bytes(data)
        with suppress(VolumeError):
            volume_from_nifti(path)


def dcm2niix(folder: Path, out: Path) -> Path:
    subprocess.run([Path(sys.executable).with_name("dcm2niix"), "-z", "n", "-o", out, "-f", "x", folder], check=True,
                   capture_output=True)  # fmt: skip
    return out / "x.nii"


def assert_interchangeable(vol: Volume, theirs: Path, tolerance_mm: float, out: Path):
    """Our file and theirs: the same voxels in the same order, at the same places."""
    volume_to_nifti(vol, out / "ours.nii")
    a, b = nibabel.load(out / "ours.nii"), nibabel.load(theirs)
    assert np.array_equal(a.get_fdata(), b.get_fdata())
    corners = np.array([[*np.multiply(at, np.subtract(a.shape, 1)), 1] for at in np.ndindex(2, 2, 2)])
    assert np.abs(corners @ (a.affine - b.affine).T).max() <= tolerance_mm
    assert a.get_data_dtype() == np.int16
    read = volume_from_nifti(theirs)
    assert np.array_equal(read.array, vol.array), "reading theirs gives the array of the DICOM series"


@pytest.mark.parametrize("turn", [(0, 0, 0), (12, -7, 23), (90, 0, 0), (0, 90, 10), (180, 0, 0), (-100, 30, 170)])
@pytest.mark.parametrize("signed", [True, False])
def test_files_are_interchangeable_with_dcm2niixs(tmp_path, turn, signed):
    place = grid(turn=turn, shape=(6, 8, 10))
    (tmp_path / "in").mkdir()
    for number, ds in enumerate(series(place, signed=signed)):
        ds.save_as(tmp_path / "in" / f"{number}.dcm", enforce_file_format=True)
    ours = volumes_from_folder(tmp_path / "in").volumes[0]
    assert_interchangeable(ours, dcm2niix(tmp_path / "in", tmp_path), 1e-3, tmp_path)


def test_a_real_series_is_interchangeable_with_dcm2niixs(shared_data, tmp_path):
    folder = shared_data / "cip_chest" / "ct-64Dicom"
    ours = volumes_from_folder(folder).volumes[0]
    # dcm2niix takes the spacing of the first two slices, whose positions are rounded to 1 micrometre; over 78 slices.
    assert_interchangeable(ours, dcm2niix(folder, tmp_path), 0.08, tmp_path)


def match(vol: Volume, reference, out: Path) -> float | None:
    """How far apart our file and a volume of the reference place voxels, mm; None when no volume has our voxels."""
    volume_to_nifti(vol, out / "ours.nii")
    ours, theirs = nibabel.load(out / "ours.nii"), np.asanyarray(reference.dataobj)
    volumes = theirs.reshape(*theirs.shape[:3], -1)
    if not any(np.array_equal(ours.dataobj, volumes[..., n]) for n in range(volumes.shape[3])):
        return None
    corners = np.array([[*np.multiply(at, np.subtract(ours.shape, 1)), 1] for at in np.ndindex(2, 2, 2)])
    return float(np.abs(corners @ (ours.affine - reference.affine).T).max())


@pytest.mark.parametrize(("folder", "count"), [("dcm_qa_nih", 18), ("dcm_qa_enh/In/Siemens", 4)])
def test_every_volume_is_in_a_reference_of_dcm2niixs_suite(shared_data, tmp_path, folder, count):
    references = [nibabel.load(p) for p in sorted((shared_data / folder.split("/")[0] / "Ref").glob("*.nii"))]
    volumes = volumes_from_folder(shared_data / folder).volumes
    assert len(volumes) == count
    for vol in volumes:
        apart = [found for one in references if (found := match(vol, one, tmp_path)) is not None]
        assert apart, vol.facts.get("part")
        assert min(apart) < 1e-3


@pytest.mark.parametrize("folder", ["dcm_qa_12bit", "dcm_qa_ts"])
def test_every_file_equals_its_reference_of_dcm2niixs_suite(shared_data, tmp_path, folder):
    references = [nibabel.load(p) for p in sorted((shared_data / folder / "Ref").glob("*.nii"))]
    files = sorted((shared_data / folder / "In").glob("*.dcm"))
    assert files
    for number, file in enumerate(files):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "one.dcm").write_bytes(file.read_bytes())
        (vol,) = volumes_from_folder(tmp_path / str(number)).volumes
        apart = [found for one in references if (found := match(vol, one, tmp_path)) is not None]
        assert apart, file.name
        assert min(apart) < 1e-3


def test_a_three_dimensional_acquisition_lies_where_dcm2niix_puts_it(shared_data, tmp_path):
    """Dcm2niix turns these to canonical axes and takes Philips' floating point scale; the place and pattern are one."""
    references = [nibabel.load(p) for p in sorted((shared_data / "dcm_qa_enh" / "Ref").glob("Philips_WIP_B0*.nii"))]
    volumes = volumes_from_folder(shared_data / "dcm_qa_enh" / "In" / "Philips").volumes
    assert len(volumes) == len(references) == 2
    for vol in volumes:
        likeness = []
        for number, one in enumerate(references):
            one.to_filename(tmp_path / f"{number}.nii")
            theirs = volume_from_nifti(tmp_path / f"{number}.nii")
            turned = to_grid(theirs.array, theirs.grid, vol.grid, mode="nearest")
            likeness.append(np.corrcoef(turned.ravel(), vol.array.ravel())[0, 1])
        assert max(likeness) > 0.9999, vol.facts.get("part")


def test_equal_volumes_give_equal_bytes(tmp_path):
    vol = volume()
    for number, one in enumerate((vol, replace(vol, facts={"Modality": "CT"}))):
        volume_to_nifti(one, tmp_path / f"{number}.nii.gz")
    assert (tmp_path / "0.nii.gz").read_bytes() == (tmp_path / "1.nii.gz").read_bytes()


def test_a_rescale_by_slice_gives_dcm2niixs_values(tmp_path):
    (tmp_path / "in").mkdir()
    place = grid(shape=(6, 8, 10))
    for number, ds in enumerate(series(place)):
        ds.RescaleSlope, ds.RescaleIntercept = f"{0.25 * (1 + int(ds.InstanceNumber) % 7):g}", "0"
        ds.Modality, ds.Units = "PT", "BQML"
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
        ds.save_as(tmp_path / "in" / f"{number}.dcm", enforce_file_format=True)
    (vol,) = volumes_from_folder(tmp_path / "in").volumes
    volume_to_nifti(vol, tmp_path / "ours.nii")
    ours, theirs = (nibabel.load(p) for p in (tmp_path / "ours.nii", dcm2niix(tmp_path / "in", tmp_path)))
    assert np.allclose(ours.get_fdata(), theirs.get_fdata(), rtol=1e-6)
    assert np.abs(ours.affine - theirs.affine).max() < 1e-3
