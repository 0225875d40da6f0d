"""A volume or mask as one object: canonical JSON, then the stored values. Equal content, equal bytes.

Headers never come along: what is not named here stays on the clinical side.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.ground.ids import canonical_json

from .geometry import Grid
from .masks import Mask
from .volume import Volume

_MAGIC = b"AILAB-PACK-1\n"
_ALIGN = 64
_DAMAGED = "the pack is damaged: its head and its values do not agree; restore it from a backup"
FACTS = (
    "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SliceThickness", "KVP",
    "ConvolutionKernel", "PatientSex", "PatientAge", "BodyPartExamined", "contrast", "phantom", "uids", "part",
    "corrected",
)  # fmt: skip


def pack(vol: Volume) -> bytes:
    """Return the bytes of a volume: place, UIDs, the facts on the list, and the stored values."""
    array = np.ascontiguousarray(vol.array, vol.array.dtype.newbyteorder("<"))
    told = {
        **_place(vol.grid), "dtype": array.dtype.str,
        "slope": _rescale(vol.slope), "intercept": _rescale(vol.intercept),
        "study_uid": vol.study_uid, "series_uid": vol.series_uid, "frame_of_reference_uid": vol.frame_of_reference_uid,
        "instance_uids": list(vol.instance_uids), "facts": {key: vol.facts[key] for key in FACTS if key in vol.facts},
    }  # fmt: skip
    return _head(told) + array.tobytes()


def content_digest(vol: Volume) -> str:
    """SHA-256 of what a volume shows: its place, its rescaling and its stored values, and neither UIDs nor headers."""
    array = np.ascontiguousarray(vol.array, vol.array.dtype.newbyteorder("<"))
    told = {**_place(vol.grid), "dtype": array.dtype.str, "slope": _rescale(vol.slope),
            "intercept": _rescale(vol.intercept)}  # fmt: skip
    digest = hashlib.sha256(canonical_json(told))
    digest.update(array.data)
    return digest.hexdigest()


def unpack(source: bytes | Path) -> Volume:
    """Return the volume of `pack`; from a path the values are mapped, not read.

    Raises
    ------
    VolumeError
        Not a pack, or cut off.
    """
    with _whole():
        told, start = _read_head(source)
        dtype, shape = np.dtype(told.pop("dtype")), tuple(told.pop("shape"))
        grid = Grid(shape, np.array(told.pop("affine"), float))
        scale = {key: _scale(told.pop(key)) for key in ("slope", "intercept")}
        array = _mapped(source, dtype, shape, start)
        return Volume(array, grid, **scale, instance_uids=tuple(told.pop("instance_uids")), **told)


def pack_mask(mask: Mask) -> bytes:
    """Return the bytes of a mask: place and compressed values; what the values mean is the owner's record.

    Only the box that holds every label is kept: most of a mask is nothing. zlib gives the same bytes on every machine.
    """
    box = _box(mask.array)
    values = np.ascontiguousarray(mask.array[tuple(slice(*span) for span in box)], np.uint8)
    return _head({**_place(mask.grid), "box": box}) + zlib.compress(values.tobytes(), 1)


def _box(array: np.ndarray) -> list[list[int]]:
    """[first, behind the last] along each axis of what is not 0; [0, 0] where nothing is."""
    return [_span(np.asarray(array.any(others))) for others in ((1, 2), (0, 2), (0, 1))]


def _span(there: np.ndarray) -> list[int]:
    where = np.flatnonzero(there)
    return [int(where[0]), int(where[-1]) + 1] if where.size else [0, 0]


def unpack_mask(data: bytes) -> Mask:
    """Return the mask of `pack_mask`, without labels.

    Raises
    ------
    VolumeError
        Not a pack, or damaged.
    """
    with _whole():
        told, start = _read_head(data)
        grid = Grid(tuple(told["shape"]), np.array(told["affine"], float))
        whole = [[0, size] for size in grid.shape]  # as packs were written until November 2026
        box = tuple(slice(*span) for span in told.get("box", whole))
        array = np.zeros(grid.shape, np.uint8)
        inside, inflater = array[box], zlib.decompressobj()
        values = inflater.decompress(data[start:], inside.size + 1)
        if not inflater.eof:
            raise VolumeError(_DAMAGED)
        inside[:] = np.frombuffer(values, np.uint8).reshape(inside.shape)
        return Mask(array, grid)


@contextmanager
def _whole() -> Iterator[None]:
    """One error for whatever a damaged pack makes the readers raise."""
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError, zlib.error) as error:
        raise VolumeError(_DAMAGED) from error


def _mapped(source: bytes | Path, dtype: np.dtype, shape: tuple[int, ...], start: int) -> np.ndarray:
    try:
        if isinstance(source, Path):
            return np.memmap(source, dtype, "r", offset=start, shape=shape)
        return np.frombuffer(source, dtype, int(np.prod(shape)), start).reshape(shape)
    except ValueError:
        msg = "the pack is cut off: it holds fewer values than its head says; restore it from a backup"
        raise VolumeError(msg) from None


def _place(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}


def _rescale(value: Any) -> Any:
    return np.ravel(value).tolist() if np.ndim(value) else float(value)


def _scale(value: Any) -> Any:
    return np.array(value).reshape(-1, 1, 1) if isinstance(value, list) else value


def _head(told: dict[str, Any]) -> bytes:
    """Magic, length, JSON, and blanks up to a whole number of 64 bytes, so that mapped values are aligned."""
    text = canonical_json(told)
    start = len(_MAGIC) + 8 + len(text)
    return _MAGIC + len(text).to_bytes(8, "little") + text + b" " * (-start % _ALIGN)


def _read_head(source: bytes | Path) -> tuple[dict[str, Any], int]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            fixed = file.read(len(_MAGIC) + 8)
            text = file.read(_length(fixed))
    else:
        fixed = source[: len(_MAGIC) + 8]
        text = source[len(fixed) : len(fixed) + _length(fixed)]
    start = len(fixed) + len(text)
    return json.loads(text), start + (-start % _ALIGN)


def _length(fixed: bytes) -> int:
    if not fixed.startswith(_MAGIC) or len(fixed) < len(_MAGIC) + 8:
        msg = "these bytes are no AI-LAB pack; restore the object from a backup"
        raise VolumeError(msg)
    return int.from_bytes(fixed[len(_MAGIC) :], "little")
