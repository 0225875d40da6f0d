"""Viewers on request: which there are, and what a cell and a saved notebook show of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import WrongUse

from .engines import NAMES
from .picture import as_html
from .scene import Scene, scene_of

if TYPE_CHECKING:
    from ailab_kernel.volumes.masks import Mask
    from ailab_kernel.volumes.volume import Volume


@dataclass(frozen=True, eq=False)
class View:
    """An opened viewer.

    Attributes
    ----------
    engine
        ``niivue``, ``itk`` or ``itkwidgets``.
    widget
        The viewer itself, for who wants more of it (``ipyniivue.NiiVue`` for niivue).
    cell
        What a cell shows: the viewer and what stands beside it; None where the viewer has shown itself.
    still
        HTML that a saved notebook and a report show in its place.
    """

    engine: str
    widget: Any
    cell: Any
    still: str

    def _repr_mimebundle_(self, **asked: Any) -> Mapping[str, Any]:
        shown = self.cell._repr_mimebundle_(**asked) if self.cell is not None else {}
        data = shown[0] if isinstance(shown, tuple) else shown
        return {**(data or {}), "text/html": self.still, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"View({self.engine})"


def open_view(volume: "Volume | None", mask: "Mask | None" = None, *, engine: str = "niivue") -> View:
    """Open a viewer on an image, on labels, or on labels laid over their image.

    More voxels than `MOST_VOXELS` are thinned out, and the cell says so. Nothing is loaded from another machine,
    except by ``itkwidgets``.

    Parameters
    ----------
    volume, mask
        One of them, or both on the same grid.
    engine
        ``niivue`` (three planes and a 3-D view), ``itk`` (itk-vtk-viewer, where it is installed) or ``itkwidgets``
        (the package of that name, which needs a network, where it is installed).

    Raises
    ------
    WrongUse
        No such engine.
    MissingExtra
        The engine is not installed here.
    VolumeError
        The labels lie on another grid, or an array has another number of axes than three.
    """
    if engine not in NAMES:
        msg = f"engine {engine!r}: {', '.join(NAMES)} are the viewers; choose one of them"
        raise WrongUse(msg)
    open_in: Callable[[Scene], tuple[Any, Any]] = import_module(f".engines.{engine}", __package__).open_in
    scene = scene_of(volume, mask)
    return View(engine, *open_in(scene), as_html(volume, mask, note=scene.note))
