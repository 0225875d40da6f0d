"""The header of a NIfTI-1 file (nifti1.h), packed from an array's kind and place."""

import numpy as np

from ailab_kernel.ground.errors import VolumeError

from .geometry import Grid

OFFSET = 352
# NIFTI_TYPE_* by numpy's name.
CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
_FIELDS = {
    "sizeof_hdr": ("<i4", 0), "dim": ("<8i2", 40), "datatype": ("<i2", 70), "bitpix": ("<i2", 72),
    "pixdim": ("<8f4", 76), "vox_offset": ("<f4", 108), "scl_slope": ("<f4", 112), "scl_inter": ("<f4", 116),
    "xyzt_units": ("u1", 123), "qform_code": ("<i2", 252), "sform_code": ("<i2", 254), "quatern": ("<3f4", 256),
    "qoffset": ("<3f4", 268), "srow": ("<(3,4)f4", 280), "magic": ("S4", 344),
}  # fmt: skip
_LAYOUT = np.dtype({"names": list(_FIELDS), "formats": [form for form, _ in _FIELDS.values()],
                    "offsets": [at for _, at in _FIELDS.values()], "itemsize": OFFSET})  # fmt: skip
_MILLIMETRES, _SCANNER = 2, 1
_LARGEST = 32767
_SHEAR = 1e-3
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def turn(rows: int) -> np.ndarray:
    """(4, 4): NIfTI index (i, j, k, 1) of an array index (slice, row, column, 1), and just so back.

    i is the column, k the slice, and j runs against the rows, as dcm2niix has it: the files can take each other's
    place voxel for voxel.
    """
    return np.array([[0.0, 0, 1, 0], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]])


def to_ras(grid: Grid) -> np.ndarray:
    """(4, 4): NIfTI index (i, j, k, 1) to RAS mm."""
    return _TO_LPS @ grid.affine @ turn(grid.shape[1])


def grid_of(affine: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """Grid of a NIfTI image of ``shape`` (i, j, k) whose ``affine`` gives RAS mm."""
    i, j, k = shape
    return Grid((k, j, i), _TO_LPS @ affine @ turn(j))


def header(grid: Grid, dtype: np.dtype, *, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """The 348 bytes and an empty extension flag, little-endian; voxels follow at `OFFSET`.

    Parameters
    ----------
    grid
        Place of the voxels.
    dtype
        Of the stored values.
    slope, intercept
        Kept as float32, all that the format has.

    Raises
    ------
    VolumeError
        A shape, kind of value or slope that NIfTI-1 cannot hold.
    """
    kind = dtype.str[1:]
    if kind not in CODES or max(grid.shape) > _LARGEST or np.float32(slope) == 0:
        msg = (f"NIfTI-1 cannot hold shape {grid.shape} of {dtype} with slope {slope:g}: at most {_LARGEST} voxels a "
               "side, plain numbers and a slope other than 0 are expected; crop or rescale it")  # fmt: skip
        raise VolumeError(msg)
    affine = to_ras(grid) + 0.0  # no negative zeros
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    handed, quaternion, straight = _rotation(affine[:3, :3] / spacing)
    out = np.zeros((), _LAYOUT)
    out["sizeof_hdr"], out["magic"], out["vox_offset"], out["xyzt_units"] = 348, b"n+1", OFFSET, _MILLIMETRES
    out["dim"], out["pixdim"] = (3, *grid.shape[::-1], 1, 1, 1, 1), (handed, *spacing, 0, 0, 0, 0)
    out["datatype"], out["bitpix"] = CODES[kind], 8 * dtype.itemsize
    out["scl_slope"], out["scl_inter"] = slope, intercept
    out["sform_code"], out["srow"] = _SCANNER, affine[:3]
    out["qform_code"], out["quatern"], out["qoffset"] = _SCANNER if straight else 0, quaternion, affine[:3, 3]
    return out.tobytes()


def _rotation(axes: np.ndarray) -> tuple[float, np.ndarray, bool]:
    """Handedness (pixdim[0]), quaternion (b, c, d) of the nearest rotation, and whether it says what ``axes`` say.

    Slices that are sheared against each other have no quaternion: the sform alone then tells their place.
    """
    handed = 1.0 if np.linalg.det(axes) > 0 else -1.0
    own = axes * [1.0, 1.0, handed]
    left, _, right = np.linalg.svd(own)
    r = left @ right
    straight = bool(np.abs(r - own).max() < _SHEAR)
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000): stable for every angle.
    (xx, yx, zx), (xy, yy, zy), (xz, yz, zz) = r.T
    k = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    q = np.linalg.eigh(k / 3)[1][:, -1]
    return handed, q[1:] * (-1.0 if q[0] < 0 else 1.0), straight
