"""Hand over to the package itkwidgets where it is installed; it loads code from CDNs, so it is no part of this."""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import MissingExtra
from ailab_kernel.volumes.view.scene import Scene


def open_in(scene: Scene) -> tuple[Any, Any]:
    """Return what ``itkwidgets.view`` makes of the scene.

    Raises
    ------
    MissingExtra
        The package is not installed.
    """
    try:
        viewer, wasm = import_module("itkwidgets"), import_module("itkwasm")
    except ModuleNotFoundError:
        msg = ("the viewer 'itkwidgets' is not installed here, and needs a network in the browser: pip install "
               "'ailab-kernel[itkwidgets]' in an environment of its own, or take engine='itk'")  # fmt: skip
        raise MissingExtra(msg) from None
    given = {"label_image": _image(wasm, scene, scene.mask.array)} if scene.mask else {}
    values = scene.volume.values if scene.volume else None
    shown = viewer.view(None if values is None else _image(wasm, scene, values), **given)
    return shown, shown


def _image(wasm: ModuleType, scene: Scene, array: np.ndarray) -> Any:
    """An ``itkwasm.Image`` in LPS mm, which is ITK's own world."""
    affine, spacing = scene.grid.affine[:, [2, 1, 0, 3]], scene.grid.spacing_mm[::-1]
    kind = wasm.ImageType(dimension=3, componentType=array.dtype.name, pixelType="Scalar", components=1)
    return wasm.Image(imageType=kind, origin=affine[:3, 3].tolist(), spacing=list(spacing),
                      direction=affine[:3, :3] / spacing, size=list(array.shape[::-1]), data=array)  # fmt: skip
