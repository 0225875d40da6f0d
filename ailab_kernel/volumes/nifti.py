"""NIfTI in and out: world coordinates are RAS there and LPS here, axes run the other way round.

Files are written as dcm2niix writes them, voxel for voxel: columns first, rows from the last to the first, slices as
ours. Reading turns the rows back, so that a file from either tool gives the array that the DICOM series gives.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.ground.ids import sha256_file

from .geometry import Grid
from .masks import Label, Mask
from .nifti_header import grid_of, header
from .stream import save
from .volume import Volume

Form = Literal["", "sform", "qform", "none"]
_PART_BYTES = 1 << 19
# Places that differ by less are rounding: a quaternion of three float32 turns the far end by this share of its way.
_APART_VOXELS, _APART_SHARE = 0.1, 5e-4


def volume_from_nifti(path: Path, *, index: int | None = None, form: Form = "") -> Volume:
    """Read one NIfTI image; it has no DICOM headers, so a SEG cannot be written from it.

    Parameters
    ----------
    path
        NIfTI-1 or NIfTI-2, ``.nii``, ``.nii.gz`` or a pair ``.hdr`` and ``.img``, of either byte order.
    index
        Which volume of a four-dimensional image, from 0.
    form
        Whether the ``sform`` or the ``qform`` says where the image lies when they disagree; ``none`` accepts an image
        that says nothing, whose left and right are then unknown. By default such images are refused.

    Returns
    -------
    Volume
        Array (slices, rows, columns) in the machine's byte order, stored dtype; a slope of 0 means none.

    Raises
    ------
    VolumeError
        No readable NIfTI file, several volumes and no index, no place or two, or values that are no numbers.
    """
    image = _load(path)
    array, grid = _turned(image, index), _grid(image, form)
    slope, intercept = (float(value) for value in (image.dataobj.slope, image.dataobj.inter))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        msg = "the NIfTI image holds values that are no numbers; fill them first"
        raise VolumeError(msg)
    part = () if index is None else (str(index),)
    uid = derived_uid(sha256_file(path), "series", *part)
    return Volume(array, grid, slope, intercept, study_uid=derived_uid(uid, "study"), series_uid=uid)


def mask_from_nifti(path: Path, labels: Sequence[Label], *, index: int | None = None, form: Form = "") -> Mask:
    """Read a label map; ``index`` and ``form`` as for a volume.

    Returns
    -------
    Mask
        uint8, or uint16 where a value needs it.

    Raises
    ------
    VolumeError
        As for a volume, or values that are no whole numbers from 0 to 65535.
    """
    image = _load(path)
    values = _turned(image, index, scaled=True)
    with np.errstate(invalid="ignore"):
        array = values.astype(np.uint8 if not values.max(initial=0) > 255 else np.uint16)
    if not np.array_equal(array, values):
        msg = "the NIfTI image is no label map: whole numbers from 0 to 65535 are expected"
        raise VolumeError(msg)
    return Mask(array, _grid(image, form), tuple(labels))


def volume_to_nifti(vol: Volume, path: Path, *, durable: bool = True) -> None:
    """Write a volume's stored values with its rescale, or rescaled ones (float32) where it varies by slice.

    Unsigned 16-bit values that fit are written as signed ones, which more tools read; dcm2niix does so where fewer
    than 16 bits are stored.
    ``.gz`` in the name compresses. Equal volumes give equal bytes. ``durable=False`` does not wait for the disk.
    """
    array, slope, intercept = vol.array, np.float32(vol.slope), np.float32(vol.intercept)
    if slope.ndim or intercept.ndim:
        slope, intercept = (np.broadcast_to(one, (len(array), 1, 1)) for one in (slope, intercept))
        _save(path, vol.grid, np.dtype(np.float32), lambda s: array[s].astype(np.float32) * slope[s] + intercept[s],
              durable=durable)  # fmt: skip
        return
    array = _signed(array)
    _save(path, vol.grid, array.dtype, lambda s: array[s], slope=float(slope), intercept=float(intercept),
          durable=durable)  # fmt: skip


def mask_to_nifti(mask: Mask, path: Path) -> None:
    """Write a label map on its grid; equal masks give equal bytes."""
    array = _signed(mask.array)
    _save(path, mask.grid, array.dtype, lambda s: array[s])


def _signed(array: np.ndarray) -> np.ndarray:
    fits = array.dtype.str[1:] == "u2" and array.max(initial=0) < 1 << 15
    return array.view(array.dtype.str.replace("u", "i")) if fits else array


def _save(path: Path, grid: Grid, dtype: np.dtype, slices: Callable[[slice], np.ndarray], *, slope: float = 1.0,
          intercept: float = 0.0, durable: bool = True) -> None:  # fmt: skip
    """Write slabs of about half a mebibyte, rows reversed: the only copy, and it stays in the processor's cache."""
    stored = dtype.newbyteorder("<")
    slab = max(1, _PART_BYTES // max(1, grid.shape[1] * grid.shape[2] * dtype.itemsize))

    def _part(number: int) -> np.ndarray:
        return np.ascontiguousarray(slices(slice(number * slab, (number + 1) * slab))[:, ::-1], stored)

    save(path, header(grid, dtype, slope=slope, intercept=intercept), _part, parts=-(-grid.shape[0] // slab),
         durable=durable)  # fmt: skip


def _load(path: Path) -> Any:
    import nibabel

    try:
        with np.errstate(all="ignore"):  # numbers of a broken header; the places they make are checked
            image: Any = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError,
            OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        msg = f"not a readable NIfTI file ({type(error).__name__}); .nii or .nii.gz is expected"
        raise VolumeError(msg) from None
    if not isinstance(image, nibabel.Nifti1Pair):
        msg = (f"the image is of kind {type(image).__name__}, which does not say what is left and right; NIfTI is "
               "expected, convert it with the tool that wrote it")  # fmt: skip
        raise VolumeError(msg)
    if image.get_data_dtype().kind not in "iuf":
        msg = f"the NIfTI image has values of kind {image.get_data_dtype()}; one number a voxel is expected"
        raise VolumeError(msg)
    return image


def _volumes(image: Any, index: int | None) -> tuple[Any, ...]:
    """What cuts one three-dimensional volume out of the image's (i, j, k, ...)."""
    more = [size for size in image.shape[3:] if size != 1]
    if len(image.shape) < 3 or len(more) > 1 or min(image.shape) < 1:
        msg = f"a three-dimensional NIfTI image is expected, this one has shape {image.shape}"
        raise VolumeError(msg)
    if more and index is None:
        msg = (f"a three-dimensional NIfTI image is expected, this one has shape {image.shape}: {more[0]} volumes; "
               f"choose one, index=0 to {more[0] - 1}")  # fmt: skip
        raise VolumeError(msg)
    count = more[0] if more else 1
    if not 0 <= (index or 0) < count:
        msg = f"volume {index} was asked for, and the NIfTI image has {count}: index 0 to {count - 1}"
        raise VolumeError(msg)
    return (..., *((index or 0) if size != 1 else 0 for size in image.shape[3:]))


def _turned(image: Any, index: int | None, *, scaled: bool = False) -> np.ndarray:
    """(slice, row, column), contiguous and in the machine's byte order, of one volume of the image."""
    cut = _volumes(image, index)
    try:
        values = image.dataobj[cut] if scaled else image.dataobj.get_unscaled()[cut]
        turned = np.asarray(values).transpose(2, 1, 0)[:, ::-1]
        return np.ascontiguousarray(turned, turned.dtype.newbyteorder("="))
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        msg = f"the NIfTI file is cut off or damaged ({type(error).__name__}); copy it again from its source"
        raise VolumeError(msg) from None


def _grid(image: Any, form: Form) -> Grid:
    """Place of the image by its sform or its qform, which must agree unless one is named."""
    asked: Sequence[Literal["sform", "qform"]] = (form,) if form in ("sform", "qform") else ("sform", "qform")
    places: dict[str, tuple[Grid, int]] = {name: place for name in asked if (place := _place(image, name))}
    if not places and form != "none":
        msg = (f"the NIfTI image does not say by its {' or '.join(asked)} where it lies (the code is 0), left and "
               "right are unknown; give form='none' to accept that")  # fmt: skip
        raise VolumeError(msg)
    if len(places) == 2 and form != "none":
        _check_agree(places)
    return next(iter(places.values()))[0] if places else grid_of(np.asarray(image.affine, float), image.shape[:3])


def _place(image: Any, name: Literal["sform", "qform"]) -> tuple[Grid, int] | None:
    """Grid by one of the two, and its code; None where the code is 0."""
    try:
        with np.errstate(all="ignore"):
            affine, code = image.get_sform(coded=True) if name == "sform" else image.get_qform(coded=True)
    except ValueError:  # a quaternion longer than 1
        affine, code = np.full((4, 4), np.nan), 1
    if not code:
        return None
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        msg = (f"the {name} of the NIfTI image is no place: it has values that are no numbers, or flat voxels; name "
               "the other one to trust, form='sform' or form='qform'")  # fmt: skip
        raise VolumeError(msg)
    return grid_of(np.asarray(affine, float), image.shape[:3]), int(code)


def _check_agree(places: Mapping[str, tuple[Grid, int]]) -> None:
    (sform, s_code), (qform, q_code) = places["sform"], places["qform"]
    corners = np.array([[*np.multiply(at, np.subtract(sform.shape, 1)), 1.0] for at in np.ndindex(2, 2, 2)])
    apart = float(np.linalg.norm(corners @ (sform.affine - qform.affine).T, axis=1).max())
    extent = float(np.linalg.norm(np.multiply(sform.shape, sform.spacing_mm)))
    if not apart <= _APART_VOXELS * min(sform.spacing_mm) + _APART_SHARE * extent:
        msg = (f"the sform (code {s_code}) and the qform (code {q_code}) of the NIfTI image place it up to "
               f"{apart:.3g} mm apart; name the one to trust, form='sform' or form='qform'")  # fmt: skip
        raise VolumeError(msg)
