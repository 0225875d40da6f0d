"""NIfTI in and out, by nibabel: world coordinates are RAS there and LPS here, axes run the other way round."""

import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.ground.ids import sha256_file
from ailab_kernel.ground.store import atomic_write

from .geometry import Grid
from .masks import Label, Mask
from .volume import Volume

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# (slice, row, column) of ours are (k, j, i) of NIfTI.
_REVERSE = np.eye(4)[[2, 1, 0, 3]]


def volume_from_nifti(path: Path) -> Volume:
    """Read a three-dimensional NIfTI image; it has no DICOM headers, so a SEG cannot be written from it.

    Raises
    ------
    VolumeError
        No readable NIfTI file, or not three-dimensional.
    """
    image = _load(path)
    array = _read(image.dataobj.get_unscaled)
    slope, intercept = (float(value) for value in (image.dataobj.slope, image.dataobj.inter))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        msg = "the NIfTI image holds values that are no numbers; fill them first"
        raise VolumeError(msg)
    uid = derived_uid(sha256_file(path), "series")
    return Volume(_turned(array), _grid(image), slope, intercept, study_uid=derived_uid(uid, "study"), series_uid=uid)


def mask_from_nifti(path: Path, labels: Sequence[Label]) -> Mask:
    """Read a label map.

    Raises
    ------
    VolumeError
        Values that are no whole numbers from 0 to 255.
    """
    image = _load(path)
    values = _read(lambda: np.asanyarray(image.dataobj))
    with np.errstate(invalid="ignore"):
        array = values.astype(np.uint8)
    if not np.array_equal(array, values):
        msg = "the NIfTI image is no label map: whole numbers from 0 to 255 are expected"
        raise VolumeError(msg)
    return Mask(_turned(array), _grid(image), tuple(labels))


def volume_to_nifti(vol: Volume, path: Path) -> None:
    """Write a volume's stored values with its rescale; a per-slice rescale is applied (float32)."""
    scaled = np.ndim(vol.slope) or np.ndim(vol.intercept)
    image = nibabel.Nifti1Image(_turned(vol.values if scaled else vol.array), _affine(vol.grid))
    if not scaled:
        image.header.set_slope_inter(vol.slope, vol.intercept)
    _save(image, path)


def mask_to_nifti(mask: Mask, path: Path) -> None:
    """Write a label map on its grid, uint8; equal masks give equal bytes."""
    _save(nibabel.Nifti1Image(_turned(mask.array), _affine(mask.grid)), path)


def _load(path: Path) -> Any:
    try:
        image: Any = nibabel.load(path)
        shape = image.shape[:3] if all(size == 1 for size in image.shape[3:]) else image.shape
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError,
            OSError, EOFError, ValueError, zlib.error) as error:
        msg = f"not a readable NIfTI file ({type(error).__name__}); .nii or .nii.gz is expected"
        raise VolumeError(msg) from None
    if len(shape) != 3 or not isinstance(image, nibabel.Nifti1Pair):
        msg = f"a three-dimensional NIfTI image is expected, this one has shape {image.shape}"
        raise VolumeError(msg)
    return image


def _read(values: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        return np.asanyarray(values())
    except (OSError, EOFError, ValueError, MemoryError, zlib.error) as error:
        msg = f"the NIfTI file is cut off or damaged ({type(error).__name__}); copy it again from its source"
        raise VolumeError(msg) from None


def _turned(array: np.ndarray) -> np.ndarray:
    """(k, j, i) from (i, j, k) and back."""
    return array.reshape(array.shape[:3]).transpose(2, 1, 0)


def _grid(image: nibabel.Nifti1Image) -> Grid:
    i, j, k = image.shape[:3]
    return Grid((k, j, i), _TO_LPS @ np.asarray(image.affine, float) @ _REVERSE)


def _affine(grid: Grid) -> np.ndarray:
    return _TO_LPS @ grid.affine @ _REVERSE


def _save(image: nibabel.Nifti1Image, path: Path) -> None:
    image.header.set_xyzt_units("mm")
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    data = image.to_bytes()
    atomic_write(path, gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)
