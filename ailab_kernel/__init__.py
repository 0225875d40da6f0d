"""AI-LAB: a study from the PACS through annotate, train, validate and infer, and back to it.

::

    import ailab_kernel as ailab
    lab = ailab.open_lab()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ailab_kernel.lab import Lab, open_lab

__version__ = "0.1.0"
__all__ = ["Lab", "open_lab"]


def __getattr__(name: str) -> Any:
    """Open the lab's door only when it is used: the import itself costs next to nothing (PEP 562)."""
    if name in __all__:
        return getattr(import_module("ailab_kernel.lab"), name)
    msg = f"ailab_kernel has no {name!r}; it has {', '.join(__all__)}"
    raise AttributeError(msg)
