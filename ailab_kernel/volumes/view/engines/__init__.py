"""The viewers: each module's ``open_in`` takes a scene and returns the viewer, and what a cell shows of it."""

NAMES = ("niivue", "itk", "itkwidgets")        # the first is the default

__all__ = ["NAMES"]
