"""The orientation canary: what comes back wrong is named, whatever the destination does to it."""

import copy
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels import pack_bits
from scipy import ndimage
from typer.testing import CliRunner

from ailab_kernel.archives import Archive, Series, SeriesList, Stored, Studies, open_archive
from ailab_kernel.cli.main import app
from ailab_kernel.datasets.canary import Canary, compare, make_canary, run_canary
from ailab_kernel.datasets.phantom_dicom import is_phantom
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.objects.seg import read_seg
from tests.archives.outward import free_port
from tests.services import Orthanc, need_service, orthanc

AXES = ("slice", "row", "column")
SPACING = dict(zip(AXES, (3.1, 1.3, 0.8), strict=True))
Change = Callable[[list[Dataset]], list[Dataset]]


@pytest.fixture(scope="module")
def sent() -> Canary:
    return make_canary()


@pytest.fixture
def images(sent: Canary) -> list[Dataset]:
    return copy.deepcopy(list(sent.image))


@pytest.fixture
def seg(sent: Canary) -> Dataset:
    return copy.deepcopy(sent.seg)


def pixels(datasets: list[Dataset]) -> np.ndarray:
    return np.stack([ds.pixel_array for ds in datasets])


def with_pixels(datasets: list[Dataset], array: np.ndarray) -> list[Dataset]:
    for ds, plane in zip(datasets, array, strict=True):
        ds.PixelData = np.ascontiguousarray(plane.astype("<i2")).tobytes()
    return datasets


def directions(ds: Dataset) -> dict[str, np.ndarray]:
    """Step from one voxel to the next along each axis, LPS mm."""
    column, row = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    return {"slice": np.cross(column, row) * SPACING["slice"], "row": row * SPACING["row"],
            "column": column * SPACING["column"]}


def move(ds: Dataset, vector: np.ndarray) -> None:
    ds.ImagePositionPatient = [round(float(v), 7) for v in np.array(ds.ImagePositionPatient, float) + vector]


def pixels_flipped(datasets: list[Dataset], axis: str) -> list[Dataset]:
    return with_pixels(datasets, np.flip(pixels(datasets), AXES.index(axis)))


def header_flipped(datasets: list[Dataset], axis: str, *, in_place: bool = True) -> list[Dataset]:
    if axis == "slice":
        positions = [ds.ImagePositionPatient for ds in datasets]
        for ds, position in zip(datasets, reversed(positions), strict=True):
            ds.ImagePositionPatient = position
        return datasets
    for ds in datasets:
        step, count = directions(ds)[axis], ds.Rows if axis == "row" else ds.Columns
        cosines = list(ds.ImageOrientationPatient)
        some = slice(3, 6) if axis == "row" else slice(0, 3)
        cosines[some] = [-v for v in cosines[some]]
        ds.ImageOrientationPatient = cosines
        if in_place:
            move(ds, step * (count - 1))
    return datasets


def header_shifted(datasets: list[Dataset], axis: str, voxels: float) -> list[Dataset]:
    for ds in datasets:
        move(ds, directions(ds)[axis] * voxels)
    return datasets


def pixels_shifted(datasets: list[Dataset], axis: str, voxels: float) -> list[Dataset]:
    shift = [voxels if one == axis else 0 for one in AXES]
    moved = ndimage.shift(pixels(datasets).astype(float), shift, order=1, mode="nearest")
    return with_pixels(datasets, np.rint(moved))


def seg_pixels_flipped(seg: Dataset, axis: str) -> Dataset:
    seg.PixelData = pack_bits(np.ascontiguousarray(np.flip(seg.pixel_array, AXES.index(axis))))
    return seg


def seg_shifted(seg: Dataset, axis: str, voxels: float) -> Dataset:
    plane = Dataset()
    shared = seg.SharedFunctionalGroupsSequence[0]
    plane.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    for item in seg.PerFrameFunctionalGroupsSequence:
        move(item.PlanePositionSequence[0], directions(plane)[axis] * voxels)
    return seg


def test_it_is_the_same_each_time_and_a_phantom(sent: Canary) -> None:
    again = make_canary()
    assert [ds.to_json() for ds in again.instances] == [ds.to_json() for ds in sent.instances]
    assert all(is_phantom(ds) for ds in sent.image)


def test_it_is_oblique_anisotropic_and_off_centre(sent: Canary) -> None:
    affine = sent.volume.grid.affine
    assert np.abs(affine[:3, :3]).min() > 0.1
    assert len({*sent.volume.array.shape}) == len({*sent.volume.spacing_mm}) == 3
    assert np.array_equal(read_seg(sent.seg, sent.volume).array, sent.mask.array)


def test_what_comes_back_in_any_order_is_identical(sent: Canary) -> None:
    report = compare(sent, reversed(sent.instances))
    assert report.identical
    assert str(report) == "image: identical\nSEG: identical"


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("flip", [pixels_flipped, header_flipped])
def test_a_flip_is_named(sent: Canary, images: list[Dataset], flip: Callable, axis: str) -> None:
    report = compare(sent, [*flip(images, axis), sent.seg])
    assert str(report.image) == f"flipped on the {axis} axis"
    assert report.seg.identical
    assert not report.identical


@pytest.mark.parametrize(("axis", "count"), [("row", 26), ("column", 36)])
def test_a_flip_about_the_first_voxel_is_a_flip_and_a_shift(sent: Canary, images: list[Dataset], axis: str, count: int) -> None:
    verdict = compare(sent, [*header_flipped(images, axis, in_place=False), sent.seg]).image
    assert verdict.flipped == verdict.shifted == (axis,)
    assert verdict.shift_voxels[AXES.index(axis)] == pytest.approx(1 - count, abs=1e-4)


def test_flips_on_two_and_three_axes_are_named(sent: Canary, images: list[Dataset]) -> None:
    turned = pixels_flipped(pixels_flipped(images, "row"), "column")
    assert compare(sent, turned).image.flipped == ("row", "column")
    assert compare(sent, pixels_flipped(turned, "slice")).image.flipped == AXES


@pytest.mark.parametrize("axis", AXES)
def test_half_a_voxel_in_the_header_is_named(sent: Canary, images: list[Dataset], axis: str) -> None:
    verdict = compare(sent, header_shifted(images, axis, 0.5)).image
    assert str(verdict) == f"shifted by {SPACING[axis] / 2:+.3f} mm (half a voxel) on the {axis} axis"


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("voxels", "named"), [(0.5, "half a voxel"), (-1, "a voxel"), (0.25, "0.25 voxels")])
def test_pixels_that_were_moved_are_named(sent: Canary, images: list[Dataset], axis: str, voxels: float, named: str) -> None:
    verdict = compare(sent, pixels_shifted(images, axis, voxels)).image
    assert verdict.shifted == (axis,) or verdict.shift_mm[AXES.index(axis)] == pytest.approx(SPACING[axis] * voxels, abs=0.02)
    assert f"mm ({named}) on the {axis} axis" in str(verdict)


def test_transposed_pixels_are_named(sent: Canary, images: list[Dataset]) -> None:
    turned = with_pixels(images, pixels(images).transpose(0, 2, 1))
    for ds in turned:
        ds.Rows, ds.Columns = ds.Columns, ds.Rows
    verdict = compare(sent, turned).image
    assert verdict.transposed == ("row", "column")
    assert "row, column axes changed places" in str(verdict)


@pytest.mark.parametrize("axis", AXES)
def test_a_flipped_seg_is_named(sent: Canary, seg: Dataset, axis: str) -> None:
    report = compare(sent, [*sent.image, seg_pixels_flipped(seg, axis)])
    assert report.image.identical
    assert report.seg.flipped == (axis,)


@pytest.mark.parametrize("axis", AXES)
def test_a_seg_half_a_voxel_off_is_named(sent: Canary, seg: Dataset, axis: str) -> None:
    report = compare(sent, [*sent.image, seg_shifted(seg, axis, -0.5)])
    assert str(report.seg) == f"shifted by {-SPACING[axis] / 2:+.3f} mm (half a voxel) on the {axis} axis"


def test_other_values_in_place_are_told(sent: Canary, images: list[Dataset]) -> None:
    array = pixels(images)
    array[array > 0] += 1
    assert str(compare(sent, with_pixels(images, array)).image) == "in its place, but with other values"


def test_what_is_no_canary_is_told(sent: Canary, images: list[Dataset], seg: Dataset) -> None:
    assert str(compare(sent, []).image) == "no image came back"
    assert str(compare(sent, []).seg) == "no SEG came back, one was sent"
    assert "make no volume" in str(compare(sent, [*images[:4], *images[5:]]).image)
    assert "another shape" in str(compare(sent, with_pixels(images, np.random.default_rng(1).integers(0, 999, pixels(images).shape))).image)
    assert "every voxel is empty" in str(compare(sent, with_pixels(images, np.full(pixels(images).shape, -1000))).image)
    del seg.SharedFunctionalGroupsSequence
    assert "malformed DICOM" in str(compare(sent, [seg]).seg)


@dataclass(frozen=True)
class Meddling:
    """An archive that changes what it gives back."""

    inner: Archive
    change: Change

    @property
    def url(self) -> str:
        return self.inner.url

    def search_studies(self, **match: object) -> Studies:
        return self.inner.search_studies(**match)

    search = search_studies

    def search_series(self, study_uid: str = "", **match: object) -> SeriesList:
        return self.inner.search_series(study_uid, **match)

    def retrieve(self, series: Series) -> Iterator[Dataset]:
        datasets = sorted(self.inner.retrieve(series), key=lambda ds: ds.InstanceNumber)
        return iter(datasets if series.modality == "SEG" else self.change(datasets))

    def retrieve_files(self, series: Series) -> Iterator[bytes | Path]:
        return self.inner.retrieve_files(series)

    def store(self, datasets: Iterable[Dataset]) -> Stored:
        return self.inner.store(datasets)

    def delete(self, study_uid: str, series_uid: str = "") -> None:
        self.inner.delete(study_uid, series_uid)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("change", "says"), [
    (lambda images, axis: pixels_flipped(images, axis), "flipped on the {} axis"),
    (lambda images, axis: header_flipped(images, axis), "flipped on the {} axis"),
    (lambda images, axis: header_shifted(images, axis, 0.5), "(half a voxel) on the {} axis"),
])
def test_an_archive_that_meddles_is_found_out_and_left_clean(tmp_path: Path, change: Callable, says: str, axis: str) -> None:
    archive = open_archive(f"folder:{tmp_path}")
    report = run_canary(Meddling(archive, lambda images: change(images, axis)))
    assert says.format(axis) in str(report.image)
    assert report.seg.identical
    assert not report.identical
    assert archive.search() == ()


def test_a_folder_passes_and_is_left_clean(tmp_path: Path) -> None:
    archive = open_archive(f"folder:{tmp_path}")
    report = run_canary(archive)
    assert report.identical
    assert report.notes == ()
    with pytest.raises(NotFound):
        archive.delete(make_canary().volume.study_uid)


@pytest.fixture(scope="module")
def move_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, move_port: int) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc"), destinations={"AILAB": move_port}) as server:
        yield server


@pytest.mark.parametrize("way", ["dicomweb", "dimse", "move"])
def test_orthanc_passes_and_says_what_stays(pacs: Orthanc, move_port: int, way: str) -> None:
    pacs.wipe()
    url = {"dicomweb": pacs.url, "dimse": pacs.dimse, "move": f"{pacs.dimse}?retrieve=move&listen={move_port}"}[way]
    report = run_canary(open_archive(url))
    assert report.identical, str(report)
    assert len(report.notes) == 1
    assert "stays in the archive" in report.notes[0]
    assert "does not offer" in report.notes[0]


def test_what_dcmtk_stores_in_orthanc_comes_back_identical(pacs: Orthanc, sent: Canary, tmp_path: Path) -> None:
    need_service("storescu", package="dcmtk")
    pacs.wipe()
    for number, ds in enumerate(sent.instances):
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    subprocess.run(["storescu", "-R", "-aec", "ORTHANC", "+sd", "127.0.0.1", str(pacs.dicom_port), str(tmp_path)], check=True,
                   env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"}, timeout=60)
    for url in (pacs.url, pacs.dimse):
        archive = open_archive(url)
        report = compare(sent, (ds for one in archive.search_series() for ds in archive.retrieve(one)))
        assert report.identical, str(report)


def test_the_terminal_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["archive", "verify", f"folder:{tmp_path / 'archive'}"])
    assert (done.exit_code, done.stdout) == (0, "image: identical\nSEG: identical\n")
    done = CliRunner().invoke(app, ["archive", "verify", "--json"])
    assert json.loads(done.stdout)["identical"] is True


def test_the_terminal_ends_with_1_where_something_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from ailab_kernel.archives import register
    from ailab_kernel.archives.archive import _FACTORIES

    archive = open_archive(f"folder:{tmp_path / 'archive'}")
    monkeypatch.setitem(_FACTORIES, "meddling", None)
    register("meddling", lambda _: Meddling(archive, lambda images: pixels_flipped(images, "row")))
    done = CliRunner().invoke(app, ["archive", "verify", "meddling:x"])
    assert (done.exit_code, done.stdout) == (1, "image: flipped on the row axis\nSEG: identical\n")
