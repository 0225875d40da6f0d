from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.pack import content_digest, pack, pack_mask, unpack, unpack_mask
from ailab_kernel.volumes.series import volume_from_datasets

from .synthetic import grid, series


def test_round_trip_from_bytes_and_from_a_file(tmp_path):
    vol = volume_from_datasets(series())
    data = pack(vol)
    (tmp_path / "x").write_bytes(data)
    for again in (unpack(data), unpack(tmp_path / "x")):
        assert np.array_equal(again.array, vol.array)
        assert again.array.dtype == vol.array.dtype
        assert again.grid.matches(vol.grid, tolerance_mm=0)
        assert (again.slope, again.intercept, again.series_uid) == (vol.slope, vol.intercept, vol.series_uid)
        assert again.instance_uids == vol.instance_uids
        assert pack(again) == data, "equal content, equal bytes"


def test_nothing_of_a_header_is_packed():
    data = pack(volume_from_datasets(series()))
    for told in (b"Synthetic", b"S1", b"20260102", b"PatientName"):
        assert told not in data


def test_masks():
    array = np.zeros(grid().shape, np.uint8)
    array[1:3, 2:5, 1:6] = 3
    mask = Mask(array, grid())
    again = unpack_mask(pack_mask(mask))
    assert np.array_equal(again.array, array)
    assert again.grid.matches(mask.grid, tolerance_mm=0)


def test_damage_is_told(tmp_path):
    data = pack(volume_from_datasets(series()))
    (tmp_path / "x").write_bytes(data[:-10])
    with pytest.raises(VolumeError, match="no AI-LAB pack"):
        unpack(b"something else")
    for source in (data[:-10], tmp_path / "x"):
        with pytest.raises(VolumeError, match="cut off"):
            unpack(source)
    with pytest.raises(VolumeError, match="damaged"):
        unpack_mask(pack_mask(Mask(np.zeros(grid().shape, np.uint8), grid()))[:-4])


WHOLE = pack(volume_from_datasets(series()))
WHOLE_MASK = pack_mask(Mask(np.eye(6, 7, dtype=np.uint8)[None].repeat(5, 0), grid()))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4), st.floats(0, 1))
def test_any_damage_is_one_error_or_none(tmp_path, changes, length):
    for whole, readers in ((WHOLE, (unpack, from_file(tmp_path))), (WHOLE_MASK, (unpack_mask,))):
        for size in (len(whole), int(length * len(whole))):
            data = bytearray(whole[:size])
            for place, value in changes if size else ():
                data[int(place * size)] = value
            for read in readers:
                with suppress(VolumeError):
                    read(bytes(data))


def from_file(folder):
    def read(data):
        (folder / "x").write_bytes(data)
        return unpack(folder / "x")

    return read


def test_the_content_digest_is_of_what_is_shown(tmp_path):
    vol = volume_from_datasets(series())
    (tmp_path / "x").write_bytes(pack(vol))
    same = content_digest(vol)
    assert content_digest(unpack(tmp_path / "x")) == same, "mapped from a file"
    assert content_digest(replace(vol, series_uid="1.2", headers=(), facts={})) == same
    other = vol.array.copy()
    other.reshape(-1)[0] += 1
    changed = (vol.with_array(other), replace(vol, slope=0.25), replace(vol, grid=vol.grid.moved(1)),
               vol.with_array(vol.array.astype(np.int32)))
    assert len({same, *map(content_digest, changed)}) == 5
