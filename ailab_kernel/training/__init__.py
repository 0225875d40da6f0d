"""Recipe in, weights out: studies on the model grid, transfer from a base, one loop, and runs that resume."""

from importlib import import_module
from typing import Any

_WHERE = {
    "Sample": "loaders",
    "Trained": "loop",
    "figure": "plot",
    "fine_tune": "loop",
    "read_curve": "runs",
    "watch": "plot",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    msg = f"ailab_kernel.training has no {name!r}; it has {', '.join(_WHERE)}"
    raise AttributeError(msg)
