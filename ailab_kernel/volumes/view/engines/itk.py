"""itk-vtk-viewer, the viewer behind itkwidgets, in a cell: bundled, offline, oblique directions as they are.

Its files are served by JupyterLab out of a labextension's folder, which ``python -m extensions.itk_viewer.build``
fills; the voxels travel once, as binary messages, when a page asks for them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from jupyter_core.paths import jupyter_path

from ailab_kernel.ground.errors import MissingExtra
from ailab_kernel.volumes.view.scene import Scene, packed

EXTENSION = "ailab-itk-viewer"                 # its folder among the labextensions, and in their address
SCRIPT = "itkVtkViewer.js"
_STATIC = Path(__file__).parent / "static"
_HEIGHT = 640


class ItkViewer(anywidget.AnyWidget):
    """itk-vtk-viewer with a scene in it.

    Attributes
    ----------
    told
        Trait, JSON values: place, window, labels; the page asks for the voxels with ``{"kind": "hello"}``.
    """

    _esm = _STATIC / "itk.js"
    told = traitlets.Dict().tag(sync=True)

    def __init__(self, scene: Scene) -> None:
        """Show a scene."""
        self._scene = scene
        super().__init__(told=_told(scene))
        self.on_msg(self._heard)

    def _heard(self, widget: Any, message: Any, buffers: Any) -> None:
        """A page begins: it gets the arrays, the image's and the labels'."""
        if isinstance(message, dict) and message.get("kind") == "hello":
            arrays = [packed(one.array) if one else b"" for one in (self._scene.volume, self._scene.mask)]
            self.send({"kind": "arrays", "to": str(message.get("from", ""))[:64]}, arrays)


def open_in(scene: Scene) -> tuple[ItkViewer, ItkViewer]:
    """Return itk-vtk-viewer with the scene in it.

    Raises
    ------
    MissingExtra
        Its files are not installed here.
    """
    if not any((Path(folder) / EXTENSION / "static" / SCRIPT).is_file() for folder in jupyter_path("labextensions")):
        msg = ("the viewer 'itk' is not installed here; run: make .venv/itk-ready (or python -m "
               "extensions.itk_viewer.build), or take engine='niivue'")  # fmt: skip
        raise MissingExtra(msg)
    shown = ItkViewer(scene)
    return shown, shown


def _told(scene: Scene) -> Mapping[str, Any]:
    """Place of the voxels (column, row, slice) in LPS mm, which is ITK's own world, and what is shown."""
    affine, spacing = scene.grid.affine[:, [2, 1, 0, 3]], scene.grid.spacing_mm[::-1]
    scale = (float(scene.volume.slope), float(scene.volume.intercept)) if scene.volume else (1.0, 0.0)
    return {
        "extension": EXTENSION, "script": SCRIPT, "height": _HEIGHT, "note": scene.note,
        "size": list(scene.grid.shape[::-1]), "spacing": list(spacing), "origin": affine[:3, 3].tolist(),
        "direction": (affine[:3, :3] / spacing).ravel().tolist(), "scale": scale, "window": scene.window,
        "label_type": scene.mask.array.dtype.name if scene.mask else "",
        "labels": [{"value": value, "name": name, "color": scene.colors[value]} for value, name in scene.names.items()],
    }  # fmt: skip
