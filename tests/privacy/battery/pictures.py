"""Pictures with a person's identity drawn into their pixels, and pictures with innocent graphics that have to stay.

Where every letter has ink is known from the drawing, so that an output is scored without any reader of text.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from ailab_kernel.privacy.pixels.boxes import Box
from tests.privacy.burned import CR, FONTS, SC, US, US_CINE, Line, anatomy, drawn, image

from .studies import Person

SHAPE, REGION = (320, 420), Box(96, 40, 300, 400)   # where ultrasound shows the body
_NATIVE = "1.2.840.10008.1.2.1"
_STAYS = ("R", "120 kV", "5 mAs")               # what a radiograph may go on saying


@dataclass(frozen=True)
class Mark:
    """A text that has to go: where it is, and which pixels of the place are ink (rows, columns)."""

    place: Box
    ink: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Kind:
    """A kind of picture; ``bright`` is a page with dark letters, ``lines`` how many identify."""

    name: str
    sop_class: str
    modality: str
    lines: int = 0
    photometric: str = "MONOCHROME2"
    bits: int = 8
    syntax: str = _NATIVE
    frames: int = 1
    bright: bool = False
    planar: int = 0


KINDS = (
    Kind("US screen", US, "US", 4, "RGB", planar=1),
    Kind("US palette", US, "US", 3, "PALETTE COLOR", syntax=RLELossless),
    Kind("US cine", US_CINE, "US", 2, syntax=RLELossless, frames=4),
    Kind("SC page", SC, "OT", 4, "RGB", bright=True),
    Kind("SC capture", SC, "OT", 4, "YBR_FULL_422", syntax=JPEGBaseline8Bit),
    Kind("CR", CR, "CR", 3, "MONOCHROME1", bits=12, syntax=JPEG2000Lossless),
    Kind("CR film", CR, "CR", 3, bits=10),
    Kind("innocent US", US, "US", 0, "RGB"),
    Kind("innocent US cine", US_CINE, "US", 0, syntax=JPEGBaseline8Bit, frames=3),
    Kind("innocent SC", SC, "OT", 0, "RGB", syntax=RLELossless),
    Kind("innocent CR", CR, "CR", 0, bits=12, syntax=JPEGLSLossless),
    Kind("innocent CR film", CR, "CR", 0, "MONOCHROME1", bits=12),
)


def pictures(person: Person, kinds: tuple[Kind, ...] = KINDS) -> Iterator[tuple[str, Dataset, tuple[Mark, ...]]]:
    """One picture of each kind; a kind that is given again has other letters at other places."""
    for number, kind in enumerate(kinds):
        yield (kind.name, *picture(kind, person, number))


def picture(kind: Kind, person: Person, number: int) -> tuple[Dataset, tuple[Mark, ...]]:
    """One object of a person, and what was drawn into every frame of it."""
    chance = random.Random(f"{person.seed}/{person.number}/picture {number}")
    ground = np.full(SHAPE, 226, np.uint8) if kind.bright else anatomy(*SHAPE, seed=chance.randrange(10**6))
    if kind.modality == "US":
        around, ground = ground, np.zeros(SHAPE, np.uint8)
        REGION.of(ground)[...] = REGION.of(around)
    _graphics(ground, chance)
    words = chance.sample(_identity(person), kind.lines)
    ink = 12 if kind.bright else 255
    lettered, places = drawn(ground, _stacked(words, chance), ink=ink)
    marks = tuple(Mark(one, np.abs(one.of(lettered).astype(int) - one.of(ground)) > 110) for one in places)
    if kind.modality == "CR":
        lettered, _ = drawn(lettered, tuple(Line(one, 262, 30 + 140 * at, 14) for at, one in enumerate(_STAYS)))
    frames = np.repeat(lettered[None], kind.frames, axis=0)
    for at, frame in enumerate(frames[1:], 1):
        REGION.of(frame)[...] = np.roll(REGION.of(frame), 5 * at, axis=1)
    ds = image(frames, sop_class=kind.sop_class, modality=kind.modality, photometric=kind.photometric, bits=kind.bits,
               syntax=kind.syntax, planar=kind.planar, regions=(REGION,) if kind.modality == "US" else (),
               **person.header, AcquisitionDateTime=None)  # fmt: skip
    ds.SOPInstanceUID, ds.SeriesInstanceUID = person.uid(f"picture {number}"), person.uid(f"pictures {number}")
    ds.file_meta.MediaStorageSOPInstanceUID, ds.BurnedInAnnotation = ds.SOPInstanceUID, "NO"   # as machines claim
    del ds.file_meta.SourceApplicationEntityTitle
    return ds, marks


def _identity(person: Person) -> tuple[str, ...]:
    """What a machine prints of a patient."""
    last, first = person.header["PatientName"].split("^")
    born = person.header["PatientBirthDate"]
    return (f"{last.upper()}, {first.upper()}", f"ID: {person.id}", f"{born[6:]}.{born[4:6]}.{born[:4]}",
            f"Acc {person.header['AccessionNumber']}", person.header["InstitutionName"],
            f"Dr. {person.header['ReferringPhysicianName'].split('^')[0]}")  # fmt: skip


def _stacked(words: list[str], chance: random.Random) -> tuple[Line, ...]:
    """Lines one below the other, in a type and size of their own, above the region of ultrasound."""
    height, lines = chance.randint(11, 15), []
    for at, one in enumerate(words):
        place = 4 + at * (height + 8), chance.randint(6, 60)
        lines.append(Line(one, *place, height, chance.choice(FONTS)))
    return tuple(lines)


def _graphics(frame: np.ndarray, chance: random.Random) -> None:
    """A circle, callipers, a wedge of greys and a ruler, in place."""
    ink = 20 if frame.mean() > 128 else 210
    row, column, radius = chance.randint(150, 220), chance.randint(120, 300), chance.randint(20, 40)
    y, x = np.ogrid[:SHAPE[0], :SHAPE[1]]
    frame[np.abs(np.hypot(y - row, x - column) - radius) < 1] = ink
    for dy, dx in ((-radius, -12), (radius, 15)):
        frame[row + dy, column + dx - 4:column + dx + 5] = frame[row + dy - 4:row + dy + 5, column + dx] = ink
    frame[110:290, 384:392] = np.linspace(10, 240, 180).astype(np.uint8)[:, None]
    frame[110:290:18, 376:382] = ink
