"""Coded concepts (DICOM PS3.3 section 8.8) that the lab writes: SNOMED CT, DCM and UCUM as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """One code: Code Value (0008,0100), Coding Scheme Designator (0008,0102), Code Meaning (0008,0104)."""

    value: str
    scheme: str
    meaning: str


ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Altered Structure")
LUNG = Code("39607008", "SCT", "Lung")
MYOCARDIUM = Code("74281007", "SCT", "Myocardium")
HEART = Code("80891009", "SCT", "Heart")
CARDIAC_CHAMBER = Code("276456003", "SCT", "Cardiac chamber")
WHITE_MATTER = Code("389080008", "SCT", "White matter")
GREY_MATTER = Code("389081007", "SCT", "Gray matter")
LESION = Code("52988006", "SCT", "Lesion")
CHEST = Code("51185008", "SCT", "Chest")
VOLUME = Code("118565006", "SCT", "Volume")
MILLILITER = Code("ml", "UCUM", "milliliter")
