"""One series, several volumes: orientations, image types, echoes, b-values and times, told apart by attributes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ailab_kernel.ground.errors import IrregularSlices

from .plane import Plane

_SAME_PLACE_MM = 0.05
# In this order: what tells images in one place apart, and how a person calls it.
_MARKS = {
    "ImageType": "type", "EchoTime": "echo time", "EchoNumbers": "echo", "InversionTime": "inversion time",
    "DiffusionBValue": "b-value", "TemporalPositionIdentifier": "time", "TriggerTime": "trigger time",
    "AcquisitionNumber": "acquisition", "AcquisitionTime": "acquisition time",
}  # fmt: skip
# A clinical date or time goes into no name and no record: its place in the order says as much.
_UNTOLD = frozenset({"AcquisitionTime"})


@dataclass(frozen=True, eq=False)
class Part:
    """Planes of one volume, and what sets them apart from the others of their series (empty when nothing needs to)."""

    planes: tuple[Plane, ...]
    name: str = ""


@dataclass(frozen=True, eq=False)
class Parts:
    """The volumes of a series, localizers that were set aside, and groups that are no volume with the reason."""

    parts: tuple[Part, ...]
    localizers: tuple[Plane, ...] = ()
    faults: tuple[str, ...] = field(default=())


def parts_of(planes: Sequence[Plane]) -> Parts:
    """Split the planes of a series into volumes."""
    localizers = tuple(plane for plane in planes if "LOCALIZER" in plane.fields.text("ImageType").upper().split("\\"))
    if len(localizers) == len(planes):
        localizers = ()
    images = [plane for plane in planes if plane not in localizers]
    groups = _by_geometry(images)
    found: list[Part] = []
    faults: list[str] = []
    for name, group in groups:
        try:
            found += [Part(part.planes, ", ".join(filter(None, (name, part.name)))) for part in _phases(group)]
        except IrregularSlices as error:
            faults.append(f"{name}: {error}" if name else str(error))
    return Parts(tuple(found), localizers, tuple(faults))


def _by_geometry(planes: Sequence[Plane]) -> list[tuple[str, list[Plane]]]:
    """Planes that can lie in one grid, by orientation, spacing, size and data type."""
    groups: dict[tuple[object, ...], list[Plane]] = {}
    for plane in planes:
        directions = tuple(np.round([*plane.across, *plane.down], 2) + 0.0)
        spacing = tuple(np.round(plane.spacing_mm, 3))
        groups.setdefault((directions, spacing, plane.shape, str(plane.dtype)), []).append(plane)
    if len(groups) == 1:
        return [("", group) for group in groups.values()]
    return [(f"orientation {number}", group) for number, group in enumerate(groups.values(), 1)]


def _phases(planes: Sequence[Plane]) -> Iterator[Part]:
    """Split planes of which several lie in one place, by the first attribute that tells all of them apart."""
    crowd, places = _crowd(planes)
    if crowd == 1:
        yield Part(tuple(planes))
        return
    for keyword, said in _MARKS.items():
        groups: dict[str, list[Plane]] = {}
        for plane in planes:
            groups.setdefault(plane.fields.text(keyword), []).append(plane)
        crowds = [_crowd(group) for group in groups.values()]
        if len(groups) > 1 and all(count < crowd and covered == places for count, covered in crowds):
            for number, (value, group) in enumerate(sorted(groups.items(), key=lambda item: _sortable(item[0])), 1):
                for part in _phases(group):
                    own = f"{said} {number if keyword in _UNTOLD else _short(value)}"
                    yield Part(part.planes, ", ".join(filter(None, (own, part.name))))
            return
    yield from _by_number(planes, crowd)


def _by_number(planes: Sequence[Plane], crowd: int) -> Iterator[Part]:
    """The n-th image at every place, in the order of InstanceNumber (0020,0013), is of the n-th time."""
    seats: dict[int, list[Plane]] = {}
    for seat, plane in zip(_seats(planes), planes, strict=True):
        seats.setdefault(seat, []).append(plane)
    if {len(seat) for seat in seats.values()} != {crowd}:
        msg = (f"up to {crowd} slices lie where another one is, and not at every place; remove duplicates, or ask the "
               "archive for all slices")  # fmt: skip
        raise IrregularSlices(msg)
    numbered = [sorted(seat, key=_number) for seat in seats.values()]
    if any(len({plane.fields.text("InstanceNumber") for plane in seat}) < crowd for seat in numbered):
        msg = f"{crowd} slices lie in each place, and nothing in their headers tells them apart; remove duplicates"
        raise IrregularSlices(msg)
    for number in range(crowd):
        yield Part(tuple(seat[number] for seat in numbered), f"time {number + 1} of {crowd}")


def _number(plane: Plane) -> float:
    return (plane.fields.numbers("InstanceNumber") or (0.0,))[0]


def _crowd(planes: Sequence[Plane]) -> tuple[int, int]:
    """How many planes lie at the most crowded place, and how many places there are."""
    seats = Counter(_seats(planes))
    return max(seats.values()), len(seats)


def _seats(planes: Sequence[Plane]) -> list[int]:
    """Number of each plane's place along the normal; planes nearer than a rounding share one."""
    depths = np.array([plane.position for plane in planes]) @ planes[0].normal
    order = np.argsort(depths, kind="stable")
    seats = np.empty(len(planes), int)
    seats[order] = np.concatenate([[0], np.cumsum(np.diff(depths[order]) > _SAME_PLACE_MM)])
    return seats.tolist()


def _sortable(value: str) -> tuple[float, str]:
    try:
        return float(value.split("\\")[0]), value
    except ValueError:
        return float("inf"), value


def _short(value: str) -> str:
    return value.replace("\\", "/") or "none"
