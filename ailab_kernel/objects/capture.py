"""Secondary Capture (PS3.3 A.8) out: a picture, or a stack of them, kept beside the images it shows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    UID,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.ground.ids import sha256
from ailab_kernel.volumes.volume import Volume

from .provenance import Provenance, settle
from .source import need_images, reference_items, references, started

_SERIES_NUMBER = 9002
_PAGES = 0x00182001


class _Form(NamedTuple):
    """What a picture's last axis decides: samples, PhotometricInterpretation (0028,0004), class of a stack."""

    samples: int
    photometric: str
    stack: UID


# By the number of axes and what follows rows and columns.
_FORMS = {
    (2, ()): _Form(1, "MONOCHROME2", MultiFrameGrayscaleByteSecondaryCaptureImageStorage),
    (3, (3,)): _Form(3, "RGB", MultiFrameTrueColorSecondaryCaptureImageStorage),
}


def write_capture(
    picture: np.ndarray | Sequence[np.ndarray], vol: Volume, provenance: Provenance, *,
    slices: Sequence[int] | None = None, burned_in: bool = False, number: int = 1,
) -> Dataset:  # fmt: skip
    """Write a picture as an object of the source's study.

    Parameters
    ----------
    picture
        uint8, shape (rows, columns) or, in RGB, (rows, columns, 3); a list or tuple of them, all alike, is written as
        one multi-frame object.
    vol
        The source series, with its headers.
    provenance
        Who made it and when; equal provenance and pictures give equal bytes.
    slices
        Which slices of ``vol`` it shows: Source Image Sequence (0008,2112); all where it is left out.
    burned_in
        Whether it shows who the patient is: Burned In Annotation (0028,0301).
    number
        Instance Number (0020,0013).

    Raises
    ------
    ObjectError
        Arrays that are no pictures, or the volume did not come from DICOM.
    DicomError
        Source headers that cannot be carried over.
    """
    need_images(vol, "a secondary capture")
    frames = [picture] if isinstance(picture, np.ndarray) else list(picture)
    form = _form(frames)
    single = isinstance(picture, np.ndarray)
    data = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
    with guarded(f"headers of series {vol.series_uid}"):
        ds = started(vol, provenance, sop_class=SecondaryCaptureImageStorage if single else form.stack,
                     modality="OT", series="capture series", number=_SERIES_NUMBER)  # fmt: skip
        ds.ConversionType, ds.BurnedInAnnotation = "WSD", "YES" if burned_in else "NO"
        ds.ImageType, ds.InstanceNumber = ["DERIVED", "SECONDARY"], str(number)
        ds.PatientOrientation = ds.Laterality = None  # a picture may show both sides: unknown, and so empty
        ds.SourceImageSequence = reference_items(_shown(vol, slices))
        _put_pixels(ds, form, frames[0].shape, data)
        if not single:
            _stack(ds, form, len(frames))
    return settle(ds, provenance, sop_uid=provenance.uid(f"capture {sha256(data + repr(slices).encode())}"))


def _form(frames: Sequence[np.ndarray]) -> _Form:
    kinds = {(frame.dtype, frame.shape) for frame in frames}
    dtype, shape = next(iter(kinds), (None, ()))
    form = _FORMS.get((len(shape), shape[2:]))
    if form is None or len(kinds) != 1 or dtype != np.uint8 or not 0 < min(shape[:2]) <= max(shape[:2]) < 1 << 16:
        msg = (f"pictures of {sorted(str(kind[1]) for kind in kinds)[:3]} are given; uint8 of shape (rows, columns) or "
               "(rows, columns, 3) is expected, all frames alike")  # fmt: skip
        raise ObjectError(msg)
    return form


def _shown(vol: Volume, slices: Sequence[int] | None) -> list[tuple[str, str]]:
    every = references(vol)
    if slices is None:
        return every
    if not slices or not 0 <= min(slices) <= max(slices) < len(every):
        msg = f"slices {list(slices)[:5]} are not all in a volume of {len(every)}; count them from 0"
        raise ObjectError(msg)
    return [every[number] for number in slices]


def _put_pixels(ds: Dataset, form: _Form, shape: tuple[int, ...], data: bytes) -> None:
    """Image Pixel module (PS3.3 C.7.6.3)."""
    ds.Rows, ds.Columns = shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = form.samples, form.photometric
    if form.samples > 1:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))


def _stack(ds: Dataset, form: _Form, count: int) -> None:
    """Multi-frame, SC Multi-frame Image and SC Multi-frame Vector modules (PS3.3 C.7.6.6, C.8.6.3, C.8.6.4)."""
    ds.NumberOfFrames, ds.FrameIncrementPointer = count, _PAGES
    ds.PageNumberVector = [str(page) for page in range(1, count + 1)]
    if form.samples == 1:
        ds.PresentationLUTShape, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "IDENTITY", "0", "1", "US"
