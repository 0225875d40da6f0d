"""What the tests of this room draw: two labels on an oblique series, and how objects become bytes."""

import io
import subprocess
from datetime import UTC, datetime

import numpy as np

from ailab_kernel.dicom.codes import CARDIAC_CHAMBER, MYOCARDIUM, Code
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.volumes.masks import Label, Mask
from tests.services import need_service
from tests.volumes.synthetic import grid

LABELS = (Label(1, "heart-wall", MYOCARDIUM), Label(2, "heart-cavity", CARDIAC_CHAMBER))
PROVENANCE = Provenance("heart-wall", "3", ("1.2.3", "ab" * 32), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                        series_description="AI-LAB heart-wall@3", model_digest="cd" * 32)  # fmt: skip
PLACE = grid(shape=(7, 10, 12))
# What dciodvfy of Debian's dicom3tools (2022 edition of the standard) calls errors and the standard does not, and why.
FALSE_ALARMS = {
    "Information Object Not found": "Label Map Segmentation Storage came with Supplement 243 (2024)",
    "SegmentNumber not monotonically increasing from one by one": "label maps number segments by their values, and 0 "
    "describes the background (Supplement 243, PS3.3 C.8.20.2)",
}


def two_labels(place=PLACE) -> Mask:
    """Two boxes that touch, nothing symmetric about them."""
    array = np.zeros(place.shape, np.uint8)
    array[1:4, 2:7, 3:9] = 1
    array[2:6, 3:5, 4:11] = 2
    return Mask(array, place, LABELS)


def many_labels(count: int, place) -> Mask:
    """Voxels in runs of one value each, all values there, in the smallest type that holds them."""
    array = (np.arange(np.prod(place.shape)) // 2 % (count + 1)).reshape(place.shape)
    labels = tuple(Label(n, f"part-{n}", Code(str(n), "99TEST", f"Part {n}")) for n in range(1, count + 1))
    return Mask(array.astype(np.uint8 if count < 256 else np.uint16), place, labels)


def encoded(ds) -> bytes:
    """The bytes of a PS3.10 file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def complaints(ds, folder) -> list[str]:
    """What dciodvfy calls errors, without its known false alarms."""
    need_service("dciodvfy", package="dicom3tools")
    (folder / "object.dcm").write_bytes(encoded(ds))
    said = subprocess.run(["dciodvfy", folder / "object.dcm"], capture_output=True, text=True, check=False).stderr
    return [line for line in said.splitlines() if line.startswith("Error") and not any(a in line for a in FALSE_ALARMS)]
