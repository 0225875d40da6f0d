"""What is looked at together: an image, a label map, or both on one grid."""

from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import VolumeError, WrongUse
from ailab_kernel.volumes.geometry import Grid

if TYPE_CHECKING:
    from ailab_kernel.volumes.masks import Mask
    from ailab_kernel.volumes.volume import Volume


def grid_of(volume: "Volume | None", mask: "Mask | None") -> Grid:
    """Return the grid that both lie on.

    Raises
    ------
    WrongUse
        Neither was given.
    VolumeError
        They lie on different grids, or an array has another number of axes than three.
    """
    given = [one for one in (volume, mask) if one is not None]
    if not given:
        msg = "nothing to look at; give a volume, a mask, or both"
        raise WrongUse(msg)
    for one in given:
        if one.array.ndim != 3:
            msg = (f"an array of {one.array.ndim} axes: slices, rows and columns are expected, one value a voxel; "
                   "look at one channel of an image in colour")  # fmt: skip
            raise VolumeError(msg)
    if volume is not None and mask is not None and not volume.grid.matches(mask.grid):
        shapes = [" × ".join(map(str, one.grid.shape)) for one in (volume, mask)]
        msg = (f"the labels ({shapes[1]} voxels) do not lie on the volume's grid ({shapes[0]}); place them on it: "
               "read_seg(ds, vol, resample=True)")  # fmt: skip
        raise VolumeError(msg)
    return given[0].grid
