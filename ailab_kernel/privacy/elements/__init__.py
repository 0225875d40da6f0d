"""Elements of an object as they were read: taken apart, changed and written as bytes, without being decoded."""

from .raw import Element, elements_of, texts_of, vr_of
from .reading import read
from .writing import file_of

__all__ = ["Element", "elements_of", "file_of", "read", "texts_of", "vr_of"]
