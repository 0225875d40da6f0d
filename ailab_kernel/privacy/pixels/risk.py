"""Which objects may have text burned into their pixels, and where: rules as a table, the first that fits decides.

BurnedInAnnotation (0028,0301) is believed where it says YES. Its NO is believed of images that no screen was copied
for; ultrasound machines, capture stations and film scanners are known to say it of everything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from .boxes import Box

_PIXELS, _REGIONS = 0x7FE00010, "SequenceOfUltrasoundRegions"


class Look(StrEnum):
    """What is done with an object's frames."""

    CLEAR = "clear"                # they are not looked at
    READ = "read"                  # text that is not known to be technical goes
    ALL = "all"                    # every text goes, outside of regions of ultrasound


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes
    ----------
    look
        What follows.
    why
        In words, for the sheet.
    when
        By keyword, what the value looks like: a regular expression that is searched in the values, joined by
        backslashes, in capitals; an absent value is empty.
    """

    look: Look
    why: str
    when: Mapping[str, str]

    def fits(self, said: Mapping[str, str]) -> bool:
        """Whether every condition is met by what an object says, by keyword."""
        return all(re.search(pattern, said[keyword]) for keyword, pattern in self.when.items())


_STORAGE = r"^1\.2\.840\.10008\.5\.1\.4\.1\.1\."
_SCREENS = (r"SCREEN|\bDOSE|\bPROT(OCOL)?\b|REPORT|SUMMARY|CAPTURE|SNAPSHOT|\bSAVE|HARD ?COPY|PRINT|RESULT|"
            r"\bTABLE\b|POSDISP")  # fmt: skip
_REPORTS = (r"SCREEN ?-?(SAVE|SHOT|CAP|COPY)|DOSE[ _-]?(REPORT|INFO|RECORD|SUMMARY|PAGE|SR)|^DOSE|"
            r"PATIENT PROTOCOL|^PROTOCOL|"
            r"\bREPORT\b|\bSUMMARY\b|CAPTURE|SNAPSHOT|HARD ?COPY|WORKSHEET|\bRESULTS?\b")  # fmt: skip
_NO, _SECTIONS = r"^NO$", r"^(CT|MR|PT|NM|ST)$"
RULES: tuple[Rule, ...] = (
    Rule(Look.CLEAR, "labels, doses and parameters, no pictures", {"SOPClassUID": _STORAGE + r"(66\.[47]|481\.2|30)$"}),
    Rule(Look.ALL, "the object says that text is burned in", {"BurnedInAnnotation": r"^Y"}),
    Rule(Look.ALL, "secondary capture", {"SOPClassUID": _STORAGE + r"7(\.[1-4])?$"}),
    Rule(Look.ALL, "made from film, paper or video", {"ConversionType": r"^(DV|DF|SD|SI|DRW)$"}),
    Rule(Look.CLEAR, "tissue on a slide", {"Modality": r"^SM$", "ImageType": r"VOLUME|THUMBNAIL",
                                           "BurnedInAnnotation": _NO}),
    Rule(Look.ALL, "ultrasound", {"SOPClassUID": _STORAGE + r"(3|3\.1|6|6\.1|6\.2)$"}),
    Rule(Look.ALL, "visible light", {"SOPClassUID": _STORAGE + r"77\.1"}),
    Rule(Look.ALL, "a modality that prints on its pictures",
         {"Modality": r"^(US|IVUS|BDUS|IVOCT|ES|XC|GM|SM|OP|OPT|OPM|OPV|OCT|DOC|OT|SC|ECG|EPS|HD|BMD|OAM|LEN|KER|HC|PX|"
                      r"DG|TG|LS|BI|CF|CP|CS|DD|DF|DM|EC|FA|FS|LP|MA|MS|OPR|VF|VA|SRF)$"}),
    Rule(Look.ALL, "a screen that was saved", {"ImageType": _SCREENS}),
    Rule(Look.ALL, "a report or a screen, as its description says", {"SeriesDescription": _REPORTS}),
    Rule(Look.ALL, "made by a dose or report program", {"Manufacturer": r"DOSE|RADIMETRICS|REPORT"}),
    Rule(Look.READ, "colours where a scanner has none", {"PhotometricInterpretation": r"^(RGB|YBR|PALETTE)"}),
    Rule(Look.CLEAR, "sections, said to be without text", {"Modality": _SECTIONS, "BurnedInAnnotation": _NO}),
    Rule(Look.READ, "sections of 8 bits, as of a screen", {"Modality": r"^(CT|PT)$", "BitsAllocated": r"^8$"}),
    Rule(Look.CLEAR, "sections from a scanner", {"Modality": _SECTIONS, "ImageType": r"^ORIGINAL\\PRIMARY"}),
    Rule(Look.CLEAR, "sections with a place in the body",
         {"Modality": _SECTIONS, "ImageOrientationPatient": r"\d", "BitsAllocated": r"^(16|32)$"}),
    Rule(Look.CLEAR, "frames of an enhanced scanner",
         {"SOPClassUID": _STORAGE + r"(2\.1|4\.1|128\.1|2\.2|4\.4|130)$", "BitsAllocated": r"^16$"}),
    Rule(Look.CLEAR, "a dose or plan of radiotherapy", {"Modality": r"^RT(DOSE|PLAN|STRUCT)$"}),
    Rule(Look.READ, "nothing says that there is no text", {}),
)
_TAGS: Mapping[str, BaseTag] = {keyword: Tag(keyword) for rule in RULES for keyword in rule.when}
_BITS = Tag("BitsAllocated")                   # the one that is no text


@dataclass(frozen=True)
class Risk:
    """What the rules say of one object.

    Attributes
    ----------
    look
        What is to be done.
    why
        In words.
    regions
        The places of the image itself, as ultrasound declares them (0018,6011); empty where nothing is declared.
    """

    look: Look
    why: str
    regions: tuple[Box, ...] = ()


def risk_of(ds: Dataset) -> Risk:
    """What the rules say; the pixels are not touched.

    Parameters
    ----------
    ds
        With SOPClassUID, Modality, ImageType, BurnedInAnnotation (0028,0301) and what else it has.
    """
    if _PIXELS not in ds:
        return Risk(Look.CLEAR, "no pixel data")
    said = {keyword: _said(ds, tag) for keyword, tag in _TAGS.items()}
    rule = next(one for one in RULES if one.fits(said))
    return Risk(rule.look, rule.why, () if rule.look is Look.CLEAR else regions_of(ds))


def regions_of(ds: Dataset) -> tuple[Box, ...]:
    """The regions of ultrasound (PS3.3 C.8.5.5), cut to the frame; such as have no area are left out."""
    rows, columns = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    found = []
    for item in ds.get(_REGIONS) or ():
        edges = [item.get(keyword) for keyword in ("RegionLocationMinY0", "RegionLocationMinX0",
                                                   "RegionLocationMaxY1", "RegionLocationMaxX1")]  # fmt: skip
        if None not in edges:
            top, left, bottom, right = (int(edge) for edge in edges)
            found.append(Box(max(top, 0), max(left, 0), min(bottom + 1, rows), min(right + 1, columns)))
    return tuple(one for one in found if one.bottom > one.top and one.right > one.left)


def _said(ds: Dataset, tag: BaseTag) -> str:
    """A value in capitals; the data set is left undecoded, as it travels on. What is not ASCII fits no rule anyway."""
    if tag not in ds:
        return ""
    held = ds.get_item(tag)
    if isinstance(held, RawDataElement) and tag != _BITS:
        return (held.value or b"").decode("latin-1").strip(" \0").upper()
    value = Dataset({tag: held})[tag].value
    many = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(one) for one in many if one is not None).upper()
