"""Models from lab to lab: a shelf of files, each lab's part of it signed by that lab, read by whoever trusts its key.

::

    labs.json                      which labs have something here; a hint, believed by nobody
    FINGERPRINT/index.json         what one lab offers: models with card, evidence, lineage, digests of files; signed
    objects/ab/cdef...             files by their SHA-256: weights, configuration, documents, sealed manifests

Any web server can serve such a folder, and ``ailab models serve`` does. No image and nothing about a patient is in it.
"""

from importlib import import_module
from typing import Any

_DOORS = {
    "Found": "taking", "Index": "index", "Offer": "index", "Trusted": "trusted", "trusted_labs": "trusted",
    "check_index": "index", "open_shelf": "shelf", "pull": "taking", "push": "offering", "search": "taking",
}  # fmt: skip
__all__ = ["Found", "Index", "Offer", "Trusted", "check_index", "open_shelf", "pull", "push", "search", "trusted_labs"]


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    msg = f"{__name__} has no {name!r}"
    raise AttributeError(msg)
