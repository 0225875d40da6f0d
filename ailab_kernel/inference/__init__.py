"""A model and a volume make labels: engines, their qualification, windows, and what the archive keeps."""

from importlib import import_module
from typing import Any

_WHERE = {
    "Predictor": "predict",
    "Results": "results",
    "Verdict": "qualify",
    "machine": "qualify",
    "write_results": "results",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    msg = f"ailab_kernel.inference has no {name!r}; it has {', '.join(_WHERE)}"
    raise AttributeError(msg)
