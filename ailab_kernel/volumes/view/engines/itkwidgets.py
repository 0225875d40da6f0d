"""Hand over to the package itkwidgets where it is installed; it loads code from CDNs, so it is no part of this."""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import MissingExtra
from ailab_kernel.volumes.view.scene import Scene


def open_in(scene: Scene) -> tuple[Any, None]:
    """Return what ``itkwidgets.view`` makes of the scene; it shows itself in the cell where it is made.

    Raises
    ------
    MissingExtra
        The package is not installed, or does not open here: it says so with errors of these kinds.
    """
    try:
        viewer, wasm = import_module("itkwidgets"), import_module("itkwasm")
    except (ImportError, RuntimeError) as error:
        raise _not_here(error) from None
    given = {"label_image": _image(wasm, scene, scene.mask.array)} if scene.mask else {}
    image = _image(wasm, scene, scene.volume.values) if scene.volume else None
    try:
        return viewer.view(image, **given), None
    except TypeError as error:
        raise _not_here(error) from None


def _not_here(error: Exception) -> MissingExtra:
    said = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    msg = (f"the viewer 'itkwidgets' does not open here ({said}); it needs a network in the browser: pip install "
           "'ailab-kernel[itkwidgets]' in an environment of its own, or take engine='itk'")  # fmt: skip
    return MissingExtra(msg)


def _image(wasm: ModuleType, scene: Scene, array: np.ndarray) -> Any:
    """An ``itkwasm.Image`` in LPS mm, which is ITK's own world."""
    affine, spacing = scene.grid.affine[:, [2, 1, 0, 3]], scene.grid.spacing_mm[::-1]
    kind = wasm.ImageType(dimension=3, componentType=array.dtype.name, pixelType="Scalar", components=1)
    return wasm.Image(imageType=kind, origin=affine[:3, 3].tolist(), spacing=list(spacing),
                      direction=affine[:3, :3] / spacing, size=list(array.shape[::-1]), data=array)  # fmt: skip
