"""DICOM Segmentation (PS3.3 A.51) out and in: binary, fractional or a label map, from any tool."""


from .reading import Segments, read_seg, read_segments, seg_grid
from .writing import write_seg

__all__ = ["Segments", "read_seg", "read_segments", "seg_grid", "write_seg"]
