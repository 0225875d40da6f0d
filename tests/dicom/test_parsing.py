import io
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.dicom.parsing import is_dicom, read_dataset, read_header
from ailab_kernel.dicom.uids import check_uid, derived_uid
from ailab_kernel.ground.errors import DicomError
from tests.volumes.synthetic import series


def encoded(ds):
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


WHOLE = encoded(series()[0])


def test_whole_and_header(tmp_path):
    (tmp_path / "x").write_bytes(WHOLE)
    assert is_dicom(tmp_path / "x")
    assert read_dataset(tmp_path / "x").PixelData == read_dataset(WHOLE).PixelData
    assert "PixelData" not in read_header(WHOLE)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8),
       st.integers(0, len(WHOLE)))
def test_any_damage_is_one_error_or_none(changes, length):
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    for damaged in (bytes(data), bytes(data[:length])):
        with suppress(DicomError):
            read_dataset(damaged)


def test_a_deflate_bomb_is_refused():
    import time

    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = body.compress(b"\0" * (200 << 20)) + body.flush()
    ds = series()[0]
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    head = WHOLE[:132]
    meta = io.BytesIO()
    from pydicom.filewriter import write_file_meta_info

    write_file_meta_info(meta, ds.file_meta)
    started = time.monotonic()
    with pytest.raises(DicomError):
        read_dataset(head + meta.getvalue() + bomb, max_bytes=16 << 20)
    assert time.monotonic() - started < 5


def test_deflated_data_are_read_whole_or_not_at_all():
    ds = series()[0]
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    deflated = encoded(ds)
    assert read_dataset(deflated).PixelData == series()[0].PixelData
    assert "PixelData" not in read_header(deflated)
    for length in range(400, len(deflated) - 8, 11):
        with pytest.raises(DicomError):
            read_dataset(deflated[:length])


def test_uids():
    assert derived_uid("a", "b") == derived_uid("a", "b") != derived_uid("ab")
    assert check_uid(derived_uid("x")) == derived_uid("x")
    for bad in ("", "../x", "1.2.x", "1" * 65, "/etc", "1.2\0"):
        with pytest.raises(DicomError):
            check_uid(bad)
