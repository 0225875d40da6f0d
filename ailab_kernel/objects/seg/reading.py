"""A segmentation in, from any tool: frames padded back onto a grid, segments together or apart."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from pydicom import Dataset

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.view import View, as_html
from ailab_kernel.volumes.volume import Volume

from .colors import color_of
from .groups import Frames, read_groups
from .pixels import Strip, frame_shape, strips
from .placing import Seat, grid_of, seats

_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_LARGEST_BYTE = 255
_HALF = 0.5
_ROUNDING = 1 + 1e-9
_COVERED = "Segments overlap: the picture shows later ones on top; volumes are whole."


def read_seg(ds: Dataset, place: Grid | Volume, *, resample: bool = False) -> Mask:
    """Return a SEG's segments as one label map on a grid, padded back to it.

    A voxel of a FRACTIONAL segment is in it from half of the largest value on.

    Parameters
    ----------
    ds
        A SEG by any tool.
    place
        The source volume, whose frame of reference is then compared too, or only its grid.
    resample
        Place a SEG that does not lie on the grid's voxels: each voxel takes what lies at its centre.

    Raises
    ------
    ObjectError
        Not a SEG, another patient's or scan's, frames that do not lie on the grid, or segments that overlap
        (`read_segments` keeps them apart).
    DicomError
        A malformed SEG.
    """
    segments = read_segments(ds, place, resample=resample)
    with _careful():
        return segments.together()


def read_segments(ds: Dataset, place: Grid | Volume, *, resample: bool = False, fractional: bool = False) -> "Segments":
    """Return each segment as an array on a grid, shape (slices, rows, columns); segments may overlap.

    The frames may come in any order and orientation, as long as they lie on the grid's voxels. A segment's frames are
    decoded when it is asked for: memory holds one segment at a time.

    Parameters
    ----------
    ds, place, resample
        As for `read_seg`.
    fractional
        float32 from 0 to 1, the probability or occupancy of a FRACTIONAL SEG, instead of bool.

    Raises
    ------
    ObjectError, DicomError
        As `read_seg`; what only the pixel data tell is raised when a segment is asked for.
    """
    grid = place if isinstance(place, Grid) else place.grid
    if isinstance(place, Volume):
        _check_frame(ds, place)
    with _careful():
        stored = _stored(ds)
        own = stored.grid if resample else grid
        return Segments(stored, own, grid, seats(stored.frames.places, stored.shape[1:], own), fractional)


def seg_grid(ds: Dataset) -> Grid:
    """Return the grid that a SEG's frames lie on by themselves, from its first frame to its last.

    Raises
    ------
    ObjectError
        Not a SEG, or frames that make no grid.
    DicomError
        A malformed SEG.
    """
    with _careful():
        return _stored(ds).grid


@dataclass(frozen=True)
class _Stored:
    """What the header says, checked against the pixel data."""

    ds: Dataset
    kind: str
    shape: tuple[int, int, int]
    frames: Frames
    labels: dict[int, Label]
    background: set[int]

    @property
    def grid(self) -> Grid:
        """The grid that the frames lie on by themselves."""
        shared = self.ds.get("SharedFunctionalGroupsSequence")
        measures = shared[0].get("PixelMeasuresSequence") if shared else None
        between = [measures[0].get(k) or 0 for k in ("SpacingBetweenSlices", "SliceThickness")] if measures else [0]
        return grid_of(self.frames.places, self.shape[1:], next((float(value) for value in between if value), 0.0))


def _stored(ds: Dataset) -> _Stored:
    kind = str(ds.get("SegmentationType", ""))
    if ds.get("Modality") != "SEG" or "SegmentSequence" not in ds or kind not in _KINDS:
        msg = "not a DICOM Segmentation; give a SEG object"
        raise ObjectError(msg)
    shape = frame_shape(ds)
    frames = read_groups(ds, shape[0])
    # Values that mark nothing: a label map may describe and choose its background (PS3.3 C.8.20.2).
    background = {0, int(ds.get("PixelPaddingValue") or 0)} if kind == "LABELMAP" else {0}
    labels = {int(item.SegmentNumber): _label(item) for item in ds.SegmentSequence
              if int(item.SegmentNumber) not in background}  # fmt: skip
    if len(labels) < len([item for item in ds.SegmentSequence if int(item.SegmentNumber) not in background]):
        msg = "two segments of the SEG have the same number; export it again"
        raise ObjectError(msg)
    if kind != "LABELMAP" and (unknown := set(np.unique(frames.segments).tolist()) - set(labels)):
        msg = f"frames show the segments {sorted(unknown)[:5]}, which the SEG does not describe; send it again"
        raise ObjectError(msg)
    if kind == "FRACTIONAL" and int(ds.get("MaximumFractionalValue") or 0) < 1:
        msg = "a FRACTIONAL SEG without MaximumFractionalValue (0062,000E) has no scale; export it again"
        raise ObjectError(msg)
    return _Stored(ds, kind, shape, frames, labels, background)


@dataclass(frozen=True, eq=False)
class Segments(Mapping[Label, np.ndarray]):
    """The segments of a SEG by label, each decoded when it is asked for; `write_seg` takes them as they are."""

    stored: _Stored = field(repr=False)
    own: Grid
    grid: Grid
    seats: list[Seat | None] = field(repr=False)
    fractional: bool = False

    def __len__(self) -> int:
        return len(self.stored.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.stored.labels.values())

    def __getitem__(self, label: Label) -> np.ndarray:
        if self.stored.labels.get(label.index) != label:
            raise KeyError(label)
        with _careful():
            return self._placed(self._one(label.index))

    def together(self) -> Mask:
        """One label map of all segments.

        Raises
        ------
        ObjectError
            Segments overlap.
        """
        return Mask(self._placed(self._map), self.grid, tuple(self))

    def on_top(self) -> tuple[Mask, dict[int, float]]:
        """One label map to look at, later segments on top of earlier ones; and each segment's whole volume, ml."""
        shown: np.ndarray = np.zeros(self.grid.shape, self._dtype)
        volumes: dict[int, float] = {}
        for label, values in self.items():
            where = values > 0 if not self.fractional else values >= _HALF
            shown[where] = label.index
            volumes[label.index] = float(np.count_nonzero(where)) * self.grid.voxel_ml
        return Mask(shown, self.grid, tuple(self)), volumes

    def view(self, volume: Volume | None = None, *, engine: str = "niivue") -> View:
        """Open a viewer in the cell, later segments on top of earlier ones; see `Mask.view`."""
        mask, _ = self.on_top()
        return mask.view(volume, engine=engine)

    def _repr_html_(self) -> str:
        mask, volumes = self.on_top()
        covered = sum(volumes.values()) > sum(mask.volumes_ml().values()) * _ROUNDING
        return as_html(None, mask, volumes_ml=volumes, note=_COVERED if covered else "")

    def _placed(self, array: np.ndarray) -> np.ndarray:
        return array if self.own is self.grid else to_grid(array, self.own, self.grid, mode="nearest")

    def _one(self, number: int) -> np.ndarray:
        if self.stored.kind == "LABELMAP":
            where = self._map == number
            return where.astype(np.float32) if self.fractional else where
        array: np.ndarray = np.zeros(self.own.shape, np.float32 if self.fractional else bool)
        for strip in self._strips(np.flatnonzero(self.stored.frames.segments == number)):
            view, values = self._seat(strip).take(array, self._leveled(strip))
            np.maximum(view, values, out=view)
        return array

    @cached_property
    def _map(self) -> np.ndarray:
        array: np.ndarray = np.zeros(self.own.shape, self._dtype)
        for strip in self._strips(np.arange(self.stored.shape[0])):
            view, values = self._seat(strip).take(array, self._numbered(strip))
            if np.logical_and(view, values).any() and ((view > 0) & (values > 0) & (view != values)).any():
                msg = "segments overlap, and one label map cannot hold them; read_segments keeps them apart"
                raise ObjectError(msg)
            np.bitwise_or(view, values, out=view)
        # As narrow as it can be: what no segment describes was refused.
        return array if max(self.stored.labels, default=0) > _LARGEST_BYTE else array.astype(np.uint8, copy=False)

    @cached_property
    def _dtype(self) -> type:
        largest = max(self.stored.labels, default=0)
        wide = int(self.stored.ds.BitsAllocated) > 8 if self.stored.kind == "LABELMAP" else largest > _LARGEST_BYTE
        return np.uint16 if wide else np.uint8

    def _strips(self, numbers: np.ndarray) -> Iterator[Strip]:
        return strips(self.stored.ds, self.stored.shape, numbers.tolist())

    def _seat(self, strip: Strip) -> Seat:
        seat = self.seats[self.stored.frames.place[strip.frame]]
        if seat is None:
            msg = ("the SEG's frames lie between the voxels of this grid; it was drawn on another series, "
                   "resample=True places it")  # fmt: skip
            raise ObjectError(msg)
        return seat

    def _leveled(self, strip: Strip) -> Strip:
        """Boolean, or from 0 to 1."""
        if self.stored.kind != "FRACTIONAL":
            return strip._replace(values=strip.values > 0)
        largest = int(self.stored.ds.MaximumFractionalValue)
        if self.fractional:
            return strip._replace(values=strip.values / np.float32(largest))
        return strip._replace(values=2 * strip.values.astype(np.uint32) >= largest)

    def _numbered(self, strip: Strip) -> Strip:
        """Segment numbers where something is marked."""
        stored, values = self.stored, strip.values
        if stored.kind == "LABELMAP":
            other = stored.background - {0}
            return strip._replace(values=self._known(np.where(values == other.pop(), 0, values) if other else values))
        number = self._dtype(stored.frames.segments[strip.frame])
        return strip._replace(values=np.multiply(self._leveled(strip).values, number, dtype=self._dtype))

    def _known(self, values: np.ndarray) -> np.ndarray:
        """The values of a label map, each described by a segment; most maps number them 1, 2, ... without a gap."""
        labels = self.stored.labels
        if max(labels, default=0) == len(labels) >= values.max():
            return values
        if unknown := set(np.flatnonzero(np.bincount(values.ravel())).tolist()) - {0, *labels}:
            msg = f"the label map holds the values {sorted(unknown)[:5]}, which no segment describes; send it again"
            raise ObjectError(msg)
        return values


@contextmanager
def _careful() -> Iterator[None]:
    """Malformed data end in one error; pydicom's comments on odd elements are of no use here."""
    with guarded("SEG"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_frame(ds: Dataset, vol: Volume) -> None:
    """Equal grids of two patients must not be taken for one; UIDs that we derived say nothing about it."""
    theirs, ours = str(ds.get("FrameOfReferenceUID", "")), vol.frame_of_reference_uid
    if theirs and ours and theirs != ours and vol.facts.get("uids") != "derived":
        msg = f"the SEG lies in frame of reference {theirs}, its volume in {ours}; pass the volume's grid to overrule"
        raise ObjectError(msg)


def _label(item: Dataset) -> Label:
    name = "-".join(str(item.get("SegmentLabel", "") or f"segment {item.SegmentNumber}").lower().split())
    label = Label(int(item.SegmentNumber), name,
                  _code(item, "SegmentedPropertyTypeCodeSequence", Code("0", "99AILAB", name)),
                  _code(item, "SegmentedPropertyCategoryCodeSequence", ANATOMICAL_STRUCTURE))  # fmt: skip
    lab = [int(value) for value in item.get("RecommendedDisplayCIELabValue") or ()]
    return replace(label, color=color_of((lab[0], lab[1], lab[2]))) if len(lab) == 3 else label


def _code(item: Dataset, sequence: str, default: Code) -> Code:
    if not item.get(sequence):
        return default
    one = item[sequence].value[0]
    value = one.get("CodeValue") or one.get("LongCodeValue") or one.get("URNCodeValue") or ""
    return Code(str(value), str(one.get("CodingSchemeDesignator", "")), str(one.get("CodeMeaning", "")))
