"""Trained things: MONAI bundles as data, imported safely, named with versions and aliases."""

from .bundle import Bundle, read_bundle, write_bundle
from .registry import Models, base_bundle
from .trust import build_network

__all__ = ["Bundle", "Models", "base_bundle", "build_network", "read_bundle", "write_bundle"]
