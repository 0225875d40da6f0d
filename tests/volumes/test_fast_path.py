"""The fast path reads what pydicom reads, or leaves it to pydicom: proven over mutated headers."""

import io
import os
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.dicom.scan import KEYWORDS, scan, scan_file
from ailab_kernel.ground.errors import DicomError, VolumeError
from ailab_kernel.volumes.series import volume_from_files
from ailab_kernel.volumes.series.instance import DatasetFields

from .synthetic import grid, series

FULL = os.environ.get("AILAB_BATTERY") == "full"


def rich(*, implicit=False, undefined=True) -> bytes:
    """A slice with what real headers have: sequences in sequences, private elements, empty values, dates."""
    (ds,) = series(grid(shape=(1, 6, 7)))
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "one"
    outer = Dataset()
    outer.ConceptNameCodeSequence = [inner, inner]
    ds.RequestAttributesSequence, ds.ReferencedImageSequence = [outer], []
    ds.private_block(0x0029, "MAKER", create=True).add_new(0x10, "OB", b"\xfe\xff\x00\xe0" * 5)
    ds.ImageType, ds.WindowCenter, ds.EchoTime, ds.ContrastBolusAgent = ["ORIGINAL", "PRIMARY"], [40, 50], 4.92, ""
    ds.DiffusionBValue, ds.BitsStored, ds.HighBit = 1000.0, 12, 11
    for sequence in ("RequestAttributesSequence", "ReferencedImageSequence"):
        ds[sequence].is_undefined_length = undefined
    outer.is_undefined_length_sequence_item = undefined
    if implicit:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


BASES = [rich(), rich(undefined=False), rich(implicit=True)]


@pytest.mark.parametrize("data", BASES)
def test_the_scan_finds_every_attribute_as_pydicom_has_it(data):
    found, slow = scan(data, len(data)), DatasetFields(read_dataset(data))
    assert found is not None
    for keyword in KEYWORDS:
        assert found.text(keyword) == slow.text(keyword), keyword
        if keyword not in {"Modality", "ImageType"} and slow.text(keyword)[:1] in tuple("-0123456789"):
            try:
                expected = slow.numbers(keyword)
            except ValueError:
                continue
            assert found.numbers(keyword) == expected, keyword
    assert data[found.offset : found.offset + found.length] == read_dataset(data).PixelData


def volume(data: bytes, *, fast: bool, monkeypatch):
    with monkeypatch.context() as patch:
        if not fast:
            patch.setattr("ailab_kernel.volumes.series.instance.scan", lambda *_: None)
        try:
            return volume_from_files([data])
        except (DicomError, VolumeError) as error:
            return error


def mutated(rng: random.Random) -> bytes:
    """A base with a few bytes of its header changed, taken out or put in."""
    data = bytearray(rng.choice(BASES))
    end = len(data) - 6 * 7 * 2
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, kind = rng.randrange(128, end), rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at : at + rng.choice((1, 2, 8))]
        else:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
def test_over_mutated_headers_both_paths_agree(monkeypatch):
    """Where the fast path gives a volume, pydicom gives the same one, or stumbles over an attribute we never use."""
    rng, both, lenient = random.Random(5), 0, 0
    for _ in range(20_000 if FULL else 2_000):
        data = mutated(rng)
        if scan(data, len(data)) is None:
            continue
        ours, theirs = (volume(data, fast=fast, monkeypatch=monkeypatch) for fast in (True, False))
        if isinstance(ours, Exception):
            assert isinstance(theirs, Exception)
            continue
        if isinstance(theirs, Exception):
            assert "malformed" in str(theirs)
            lenient += 1
            continue
        both += 1
        assert np.array_equal(ours.array, theirs.array)
        assert np.array_equal(ours.grid.affine, theirs.grid.affine)
        assert (ours.slope, ours.intercept, ours.instance_uids) == (theirs.slope, theirs.intercept, theirs.instance_uids)
        assert ours.facts == theirs.facts
    assert both > 100
    assert lenient < both / 10


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(9, 16))
def test_a_file_its_bytes_and_its_data_set_give_one_volume(tmp_path_factory, rows, columns, signed, stored):
    place = grid(shape=(3, rows, columns))
    array = np.random.default_rng(rows).integers(0, 1 << 8, place.shape) - (100 if signed else 0)
    slices = series(place, array=array, signed=signed)
    folder = tmp_path_factory.mktemp("files")
    for number, ds in enumerate(slices):
        ds.BitsStored, ds.HighBit = stored, stored - 1
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    files = sorted(folder.iterdir())
    assert all(scan_file(file) for file in files)
    volumes = [volume_from_files(files), volume_from_files([file.read_bytes() for file in files]), volume_from_files(slices)]
    for vol in volumes:
        assert np.array_equal(vol.array, array)
        assert np.array_equal(vol.grid.affine, volumes[0].grid.affine)
        assert [str(ds.SOPInstanceUID) for ds in vol.headers] == list(vol.instance_uids)


def test_compressed_files_come_by_the_fast_path(tmp_path):
    (ds,) = series(grid(shape=(1, 33, 47)))
    expected = volume_from_files([ds]).array
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert scan_file(tmp_path / "a.dcm") is not None
    assert np.array_equal(volume_from_files([tmp_path / "a.dcm"]).array, expected)


def test_a_file_that_shrinks_between_two_looks_is_an_error(tmp_path, monkeypatch):
    files = []
    for number, ds in enumerate(series()):
        files.append(tmp_path / f"{number}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    from ailab_kernel.volumes.series import reading

    stacked = reading.stacked

    def cut(*args, **kwargs):
        os.truncate(files[0], files[0].stat().st_size - 10)
        return stacked(*args, **kwargs)

    monkeypatch.setattr(reading, "stacked", cut)
    with pytest.raises(DicomError, match="changed while it was read"):
        volume_from_files(files)


def test_other_letters_than_ascii_are_left_to_pydicom():
    (ds,) = series(grid(shape=(1, 6, 7)))
    ds.SpecificCharacterSet, ds.Manufacturer = "ISO_IR 100", "Müller"
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    assert scan(buffer.getvalue(), len(buffer.getvalue())) is None
    assert volume_from_files([buffer.getvalue()]).facts["Manufacturer"] == "Müller"


def test_compressed_frames_are_decoded_while_others_arrive():
    slices = series(grid(shape=(6, 33, 47)))
    expected = volume_from_files(slices)
    files = []
    for ds in slices:
        ds.compress(RLELossless, generate_instance_uid=False)
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    vol = volume_from_files(iter(files))
    assert np.array_equal(vol.array, expected.array)
    assert vol.headers[0].file_meta.TransferSyntaxUID == RLELossless
    broken = files[2][:-300] + bytes(300)
    with pytest.raises(DicomError, match="encapsulated pixel data"):
        volume_from_files(iter([*files[:2], broken, *files[3:]]))
