"""The proof that nothing is left: values of the original searched in every byte of the output, and a certificate."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pydicom import Dataset
from pydicom.tag import BaseTag

from ailab_kernel import __version__
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.ids import sha256

from .elements import elements_of, read, texts_of, vr_of
from .pixels.redact import Redactor
from .rules.profile import Action, Profile
from .rules.standins import moved
from .rules.table import EDITION
from .scrub import Scrubbed, Scrubber
from .treating import identifying

_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_SHORTEST = 4                                  # shorter values are met by chance in any kilobyte


@dataclass(frozen=True)
class Certificate:
    """That one object was searched, and for how much.

    Attributes
    ----------
    output
        SHA-256 of the de-identified file.
    options
        Of the profile.
    searched
        How many values of the original were looked for.
    found
        Tags, as eight hex digits (``header`` where the bytes are of none), in which one was met.
    """

    output: str
    options: tuple[str, ...]
    searched: int
    found: tuple[str, ...]
    edition: str = EDITION
    engine: str = f"AI-LAB {__version__}"

    @property
    def clean(self) -> bool:
        """Whether nothing was met."""
        return not self.found


def originals(ds: Dataset, profile: Profile) -> frozenset[str]:
    """Return what must not be met again: names, numbers, places and, unless the profile keeps them, UIDs and dates.

    Take them before the object is scrubbed.
    """
    return frozenset(text for value in (*identifying(ds, profile), *_moved(ds, profile))
                     for text in (value.strip(),) if len(text) >= _SHORTEST)  # fmt: skip


def certify(original: Iterable[str], scrubbed: Scrubbed, *, file: bytes, profile: Profile,
            pixels: Redactor | None = None) -> Certificate:  # fmt: skip
    """Search a de-identified object for values of the original; its pixels only where text was looked for in them.

    Parameters
    ----------
    original
        What :func:`originals` returned.
    scrubbed
        What became of the object.
    file
        Its PS3.10 file, which is searched.
    profile
        What it was treated by.
    pixels
        Who took text out of its pixels, and now reads once more whatever was read or filled before.
    """
    given = frozenset(original)
    values = given - {moved(one, scrubbed.days) for one in given if scrubbed.days}  # a date may become another's
    found: tuple[str, ...] = ()
    header = _without_pixels(file, scrubbed.dataset)
    if held := _held(values, header):
        pattern = _pattern(held)
        if pattern.search(header):
            found = tuple(sorted(set(_places(scrubbed.dataset, pattern)))) or ("header",)
    if pixels and scrubbed.redaction and scrubbed.redaction.looked and pixels.again(
            scrubbed.dataset, {*scrubbed.identifiers, *values}):  # fmt: skip
        found = (*found, f"{max(_PIXELS):08X}")
    return Certificate(sha256(file), profile.options, len(values), found)


def prove(scrubber: Scrubber, file: bytes, *, also: Iterable[str] = ()) -> tuple[Scrubbed, bytes, Certificate]:
    """De-identify a PS3.10 file and search what came of it; return both, and the new file.

    Raises
    ------
    DicomError, NotDeidentified
        See :meth:`.scrub.Scrubber.scrub`.
    """
    with guarded("data set"):
        before = originals(read(file), scrubber.profile)
    done = scrubber.scrub(file, also=also)
    made = done.file()
    return done, made, certify(before, done, file=made, profile=scrubber.profile, pixels=scrubber.pixels)


def _moved(ds: Dataset, profile: Profile) -> Iterable[str]:
    """Values of UIDs and dates that the profile changes, at any depth."""
    for element in elements_of(ds):
        vr = vr_of(ds, element)
        if vr == "SQ":
            for item in ds[element.tag].value or ():
                yield from _moved(item, profile)
        elif vr in {"UI", "DA", "DT"} and profile.action(int(element.tag), vr) is not Action.KEEP:
            yield from (one for one in texts_of(ds, element, vr) if one and not one.startswith("1.2.840.10008."))


def _held(values: frozenset[str], header: bytes) -> frozenset[bytes]:
    """Values whose letters stand in a header, in a word or not; mostly there is none, and this says so soonest."""
    lower = header.lower()
    forms = {one.encode(code, "ignore") for one in values for code in ("utf-8", "latin-1")}
    return frozenset(form for form in forms if len(form) >= _SHORTEST and form.lower() in lower)


@lru_cache(maxsize=64)
def _pattern(forms: frozenset[bytes]) -> re.Pattern[bytes]:
    """Values in the encodings of DICOM's usual character sets; numbers not as a part of longer ones."""
    longest_first = sorted(forms, key=lambda one: (-len(one), one))
    return re.compile(b"|".join(rb"(?<![0-9A-Za-z.])" + re.escape(one) + rb"(?![0-9A-Za-z])" for one in longest_first),
                      re.IGNORECASE)  # fmt: skip


def _without_pixels(file: bytes, ds: Dataset) -> bytes:
    """The file up to its pixels, which are the last element of note; what follows them is searched too."""
    pixels = next((ds[tag].value for tag in _PIXELS if tag in ds), b"")
    at = file.rfind(pixels) if isinstance(pixels, bytes) and len(pixels) > 1024 else -1
    return file if at < 0 else file[:at] + file[at + len(pixels):]


def _places(ds: Dataset, pattern: re.Pattern[bytes]) -> Iterable[str]:
    for tag in ds.keys() - _PIXELS:
        element = ds[tag]
        if element.VR == "SQ":
            for item in element.value:
                yield from _places(item, pattern)
        elif pattern.search(_bytes_of(element.value)):
            yield f"{BaseTag(tag):08X}"


def _bytes_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf8", "replace")
