"""Elements as they were read: looked at, and changed, without being decoded where they are plain ASCII.

The dictionary below a pydicom Dataset is used here, and only here: its public doors make a tag of every number anew,
which took more time than everything that is done with the elements.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag

Element = DataElement | RawDataElement
_ONE_VALUE = frozenset({"LT", "ST", "UR", "UT"})                # PS3.5 6.2: a backslash is a letter there
_MANY_VALUES = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "PN", "SH", "TM", "UC", "UI"})
_ESCAPE = b"\x1b"                                               # ISO 2022: what follows is not ASCII
# Letters that one value of a text may have (PS3.5 table 6.2-1).
_LONGEST = {"AE": 16, "CS": 16, "LO": 64, "LT": 10240, "SH": 16, "ST": 1024}


def elements_of(ds: Dataset) -> list[Element]:
    """The elements as they stand, decoded or not, in order of tags."""
    held = ds._dict
    return [held[tag] for tag in sorted(held, key=int)]


def remove(ds: Dataset, element: Element) -> None:
    """Take an element out; what pydicom remembers of private blocks is forgotten, as it does itself."""
    del ds._dict[element.tag]
    if ds._private_blocks:
        ds._private_blocks = {}


def vr_of(ds: Dataset, element: Element) -> str:
    """VR as it stands, or as the standard has it where the object does not say; UN where nobody knows."""
    vr = element.VR
    if vr and vr != "UN":
        return str(vr)
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return "UN"
    return known if vr is None or ds[element.tag].VR != "UN" else "UN"


def bytes_of(ds: Dataset, element: Element) -> bytes:
    """The value's bytes where nobody decoded it yet, else something that is empty when the value is."""
    if isinstance(element.value, bytes):
        return element.value
    return "\\".join(str(one) for one in values_of(ds[element.tag])).encode("utf8", "replace")


def texts_of(ds: Dataset, element: Element, vr: str) -> list[str]:
    """The values as texts, none where it is empty.

    Parameters
    ----------
    ds
        Where the element stands.
    vr
        What :func:`vr_of` says.
    """
    raw = element.value
    if (isinstance(element, RawDataElement) and isinstance(raw, bytes) and raw.isascii() and _ESCAPE not in raw
            and (vr in _MANY_VALUES or vr in _ONE_VALUE)):  # fmt: skip
        text = raw.decode("ascii").rstrip(" \0")
        return [] if not text else [text] if vr in _ONE_VALUE else text.split("\\")
    return [str(one) for one in values_of(ds[element.tag])]


def text_at(ds: Dataset, tag: int) -> str:
    """The value of an attribute as a text, empty where there is none; several stay joined by backslashes."""
    element = ds._dict.get(BaseTag(tag))
    return "" if element is None else "\\".join(texts_of(ds, element, vr_of(ds, element)))


def values_of(element: DataElement) -> list[Any]:
    """Values as pydicom has them."""
    value = element.value
    if value is None or value == "":
        return []
    return list(value) if element.VM > 1 else [value]


def put_texts(ds: Dataset, element: Element, texts: Sequence[str], *, vr: str) -> None:
    """Give an element other texts; each is cut where its VR allows no more."""
    longest = _LONGEST.get(vr)
    joined = "\\".join(text[:longest] for text in texts)
    if isinstance(element, RawDataElement) and joined.isascii():
        data = joined.encode("ascii")
        data += (b"\0" if vr == "UI" else b" ") * (len(data) % 2)
        ds._dict[element.tag] = RawDataElement(element.tag, element.VR, len(data), data, element.value_tell,
                                               element.is_implicit_VR, element.is_little_endian)  # fmt: skip
    else:
        ds[element.tag] = DataElement(element.tag, vr, joined.split("\\") if len(texts) > 1 else joined)


def new_head(kind: str, name: str, syntax: str) -> FileMetaDataset:
    """File meta information of an object: SOP Class and Instance UID, Transfer Syntax UID."""
    meta = FileMetaDataset()
    for tag, uid in ((0x00020002, kind), (0x00020003, name), (0x00020010, syntax)):
        data = uid.encode("ascii") + b"\0" * (len(uid) % 2)
        meta._dict[BaseTag(tag)] = RawDataElement(BaseTag(tag), "UI", len(data), data, 0, False, True)
    return meta


def add_text(ds: Dataset, tag: int, text: str, *, vr: str) -> None:
    """Add an element with an ASCII text, encoded as the data set is."""
    add_bytes(ds, tag, text.encode("ascii") + b" " * (len(text) % 2), vr=vr, otherwise=lambda: text)


def add_bytes(ds: Dataset, tag: int, data: bytes, *, vr: str, otherwise: Callable[[], object]) -> None:
    """Add an element as it will be written; ``otherwise`` gives its value where the data set was not read."""
    implicit, little = ds.original_encoding
    if implicit is None or little is None:
        ds[tag] = DataElement(tag, vr, otherwise())
    else:
        ds._dict[BaseTag(tag)] = RawDataElement(BaseTag(tag), vr, len(data), data, 0, implicit, little)
