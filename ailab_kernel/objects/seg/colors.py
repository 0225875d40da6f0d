"""Recommended Display CIELab Value (0062,000D) and sRGB (PS3.3 C.10.7.1.1).

The white is sRGB's own, D65, as highdicom and DCMTK take it: a colour then looks the same in all of them.
"""

import numpy as np

Color = tuple[int, int, int]

# Linear sRGB to XYZ (IEC 61966-2-1).
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)
# f(X), f(Y), f(Z) to L*, a*, b* (CIE 15): L* = 116 f(Y) - 16, a* = 500 (f(X) - f(Y)), b* = 200 (f(Y) - f(Z)).
_TO_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]])
_OFFSET = np.array([-16, 0, 0])
# L* from 0 to 100, a* and b* from -128 to 127, each over all of 16 bits.
_LOW, _RANGE, _WHOLE = np.array([0, -128, -128]), np.array([100, 255, 255]), 65535
_BEND = 6 / 29


def lab_of(color: Color) -> Color:
    """Encode an sRGB colour (0 to 255) as three unsigned shorts."""
    value = np.array(color) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    share = _TO_XYZ @ linear / _WHITE
    bent = np.where(share > _BEND**3, np.cbrt(share), share / (3 * _BEND**2) + 4 / 29)
    return _whole((_TO_LAB @ bent + _OFFSET - _LOW) / _RANGE * _WHOLE, _WHOLE)


def color_of(lab: Color) -> Color:
    """Return the sRGB colour (0 to 255), the nearest where the value lies outside of sRGB."""
    bent = np.linalg.solve(_TO_LAB, np.array(lab) / _WHOLE * _RANGE + _LOW - _OFFSET)
    share = np.where(bent > _BEND, bent**3, 3 * _BEND**2 * (bent - 4 / 29))
    linear = np.clip(np.linalg.solve(_TO_XYZ, share * _WHITE), 0, 1)
    return _whole(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255, 255)


def _whole(values: np.ndarray, largest: int) -> Color:
    one, two, three = np.clip(np.rint(values), 0, largest).astype(int).tolist()
    return one, two, three
