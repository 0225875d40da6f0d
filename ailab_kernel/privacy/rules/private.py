"""Private attributes that are known to be safe (PS3.15 Table E.3.10-1); all others are removed."""

from collections.abc import Mapping
from types import MappingProxyType

# Group and low byte of the element, by private creator: numbers of the physics that no standard attribute held in time.
_SAFE: Mapping[str, tuple[int, ...]] = MappingProxyType({
    "Philips PET Private Group": (0x705300, 0x705309),                     # SUV and activity scale factors
    "ELSCINT1": (0x00E121, 0x01E126, 0x01E150, 0x01F101, 0x01F107, 0x01F126, 0x01F127),
    "GEMS_ACQU_01": (0x001923, 0x001924, 0x001927, 0x00199E),
    "GEMS_SERS_01": (0x002507,),
    "GEMS_PARM_01": (0x004327,),
    "GEMS_HELIOS_01": (0x004501, 0x004502),
    "Philips Imaging DD 001": (0x200103, 0x200104),                        # b-factor, diffusion direction
    "SIEMENS MR HEADER": (0x00190C, 0x00190D, 0x00190E, 0x001927),         # b-value, direction, b-matrix
})  # fmt: skip


def is_safe(group: int, creator: str, element: int) -> bool:
    """Whether a private attribute is on the standard's list.

    Parameters
    ----------
    group
        Its group number.
    creator
        Value of its Private Creator element.
    element
        Its element number; the block is whatever the object reserved.
    """
    return (group << 8 | element & 0xFF) in _SAFE.get(creator.strip(), ())
