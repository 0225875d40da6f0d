"""The default viewer, NiiVue: the image's three planes where they lie in the patient, a 3-D view, labels over both."""

import html
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ipyniivue
import numpy as np
import traitlets
from ipyniivue import MultiplanarType, ShowRender, SliceType
from ipyniivue.traits import LUT
from ipywidgets import HTML, VBox

from ailab_kernel.volumes.planes import planes_of
from ailab_kernel.volumes.view.legend import legend
from ailab_kernel.volumes.view.scene import Scene

_STATIC = Path(__file__).parent / "static"
_HEIGHT = 640
_OPACITY = 0.4
_TYPES = {"axial": SliceType.AXIAL, "coronal": SliceType.CORONAL, "sagittal": SliceType.SAGITTAL}
# Patient's right on the left, nose to the left, seen along the patient's axes rather than the array's: as `planes`.
_LOOK = {"is_radiological_convention": True, "sagittal_nose_left": True, "is_slice_mm": True,
         "multiplanar_layout": MultiplanarType.GRID, "multiplanar_show_render": ShowRender.ALWAYS,
         "crosshair_width": 0.3, "crosshair_width_unit": "percent", "crosshair_color": (0.2, 0.7, 1.0, 0.7),
         "show_3d_crosshair": True, "show_all_orientation_markers": True, "font_color": (0.9, 0.9, 0.9, 1.0),
         "drag_and_drop_enabled": False}  # fmt: skip
_TO_LPS = np.array([-1.0, -1.0, 1.0])


@cache
def _script() -> str:
    """NiiVue and what ipyniivue has on the page."""
    return (Path(ipyniivue.__file__).parent / "static" / "widget.js").read_text(encoding="utf8")


class Shown(ipyniivue.NiiVue):
    """NiiVue, whose page keeps the voxels, draws once when all is loaded, and says what fails.

    Attributes
    ----------
    niivue
        Trait: ipyniivue's script, which ours runs.
    """

    _esm = _STATIC / "niivue.js"
    niivue = traitlets.Unicode().tag(sync=True)

    @traitlets.default("niivue")
    def _whole(self) -> str:
        return _script()

    @traitlets.validate("other_nv")
    def _validate_other_nv(self, proposal: Mapping[str, Any]) -> list[ipyniivue.NiiVue]:
        """Move together with other viewers (``broadcast_to``); ipyniivue's own check knows no subclass."""
        others: list[ipyniivue.NiiVue] = proposal["value"]
        if any(one is self or not isinstance(one, ipyniivue.NiiVue) for one in others):
            msg = "a viewer moves together with other NiiVue viewers; give view.widget of another view"
            raise traitlets.TraitError(msg)
        return others


class Part(ipyniivue.Volume):
    """An image of the scene; the page would send the voxels back that it got from here, which nobody needs twice.

    Attributes
    ----------
    voxels_stay
        Trait: tells our script to keep them; what comes all the same is dropped.
    """

    voxels_stay = traitlets.Bool(default_value=True).tag(sync=True)

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what the page says, without voxels."""
        super().set_state({name: value for name, value in state.items() if not name.startswith("chunk_img_")})


def open_in(scene: Scene) -> tuple[Shown, VBox]:
    """Return NiiVue with the scene in it, and what a cell shows: NiiVue, where the crosshair is, and the legend."""
    flat = min(scene.grid.shape) == 1
    slice_type = _TYPES[planes_of(scene.grid)[0].name] if flat else SliceType.MULTIPLANAR
    shown = Shown(height=_HEIGHT, slice_type=slice_type, **_LOOK)
    shown.load_volumes([*_image(scene), *_labels(scene)])
    where = HTML("Click into a plane: place and value are told here.")

    def _moved(told: Mapping[str, Any]) -> None:
        where.value = html.escape(scene.told_at(np.array(told["mm"][:3], float) * _TO_LPS))

    shown.on_location_change(_moved)
    below = [where, HTML(legend(scene.mask))] if scene.mask else [where]
    return shown, VBox([shown, *below, *([HTML(html.escape(scene.note))] if scene.note else [])])


def _image(scene: Scene) -> Iterator[Part]:
    if scene.volume:
        black, white = scene.window
        yield Part(name="image.nii.gz", data=scene.image_file, colormap="gray", cal_min=black, cal_max=white)


def _labels(scene: Scene) -> Iterator[Part]:
    """Nothing is drawn where there is no label; values up to the largest have a row in the table."""
    if scene.mask:
        rows = [scene.colors.get(value) for value in range(max(scene.colors, default=0) + 1)]
        lut = [channel for row in rows for channel in ((*row, 255) if row else (0, 0, 0, 0))]
        names = [scene.names.get(value, "") for value in range(len(rows))]
        yield Part(name="labels.nii.gz", data=scene.labels_file, opacity=_OPACITY if scene.volume else 1.0,
                   colormap_label=LUT(lut=lut, min=0.0, max=float(len(rows) - 1), labels=names))  # fmt: skip
