"""The Store transaction (PS3.18 10.5): PS3.10 files of a request into the inbox, and the answer about each of them.

A file's meta information is read and its data set goes on as it comes, so that the same instance has the same digest
whichever door it came through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from pydicom.datadict import keyword_for_tag

from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.receive.contexts import is_storage, is_syntax
from ailab_kernel.adapter.receive.inbox import Label
from ailab_kernel.adapter.receive.look import Misfit
from ailab_kernel.adapter.receive.message import NO_RESOURCES, NOT_UNDERSTOOD, SUCCESS, UNKNOWN_CLASS, UNKNOWN_SYNTAX
from ailab_kernel.adapter.receive.meta import CLASS, INSTANCE, SYNTAX, read_meta
from ailab_kernel.adapter.receive.taking import Taking
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError, ProtocolBroken

MEDIA, JSON, XML = "application/dicom", "application/dicom+json", "application/dicom+xml"
_NAMELESS = Misfit(NOT_UNDERSTOOD, "no PS3.10 file whose meta information says what it is")
_FIRST_LOOK, _LONGEST_META = 1 << 10, 1 << 16


@dataclass(frozen=True)
class Outcome:
    """What became of one instance: its status (0000,0900), and its UIDs where they are known."""

    sop_class: str
    uid: str
    status: int


@dataclass
class Intake:
    """Takes the parts of one request (`multipart.Sink`).

    Attributes
    ----------
    inbox
        Where they go.
    sender
        Who sends, and from where.
    study_uid
        Study that the request names; empty: any.
    instance_bytes, instances
        Largest part, and how many of them a request may have.
    """

    inbox: Inbox
    sender: str
    study_uid: str = ""
    instance_bytes: int = 8 << 30
    instances: int = 50_000
    outcomes: list[Outcome] = field(default_factory=list)
    _taking: Taking | None = None
    _head: bytearray = field(default_factory=bytearray)
    _next_look: int = _FIRST_LOOK
    _size: int = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """Take a new part."""
        kind = headers.get("content-type", MEDIA).partition(";")[0].strip().lower()
        if kind != MEDIA:
            msg = f"a part of the body is of another kind than {MEDIA}; only whole instances are taken here"
            raise ProtocolBroken(msg)
        if len(self.outcomes) >= self.instances:
            msg = f"more than {self.instances} instances in one request; send them in several"
            raise ProtocolBroken(msg)
        self._head, self._next_look, self._size, self._taking = bytearray(), _FIRST_LOOK, 0, None

    def write(self, part: memoryview) -> None:
        """Take some of its bytes."""
        self._size += len(part)
        if self._size > self.instance_bytes:
            msg = f"an instance of more than {self.instance_bytes} bytes"
            raise ProtocolBroken(msg)
        if self._taking:
            self._taking.write(part)
            return
        self._head += part
        if len(self._head) >= self._next_look:
            self._look(last=len(self._head) > _LONGEST_META)
            self._next_look *= 2

    def end(self) -> None:
        """Make it durable, and note what became of it."""
        if self._taking is None:
            self._look(last=True)
        taking = self._taking
        assert taking is not None
        status, _ = taking.finish(study_uid=self.study_uid, misfit=None if taking.label.uid else _NAMELESS)
        self.outcomes.append(Outcome(taking.label.sop_class, taking.label.uid, status))
        self._taking = None

    def drop(self) -> None:
        """Forget a part that was not ended."""
        if self._taking:
            self._taking.drop()
            self._taking = None

    def _look(self, *, last: bool) -> None:
        """Begin to take the instance once its meta information is there; what has none is set aside as it is."""
        head = bytes(self._head)
        found = read_meta(head)
        if found is None and not last:
            return
        values, body = found or ({}, 0)
        label = Label(values.get(CLASS, ""), values.get(INSTANCE, ""), values.get(SYNTAX, ""), self.sender)
        self._taking = Taking(self.inbox, label, refusal=_refusal(label) if found else SUCCESS)
        self._taking.write(memoryview(head)[body:])
        self._head.clear()


class OnePart:
    """A body that is one instance, without parts."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        intake.begin({})

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._intake.write(memoryview(piece))

    def close(self) -> None:
        """Take the end."""
        self._intake.end()


def _refusal(label: Label) -> int:
    if not is_syntax(label.syntax):
        return UNKNOWN_SYNTAX
    return SUCCESS if is_storage(label.sop_class) else UNKNOWN_CLASS


def is_uid(text: str) -> bool:
    """Whether this is a UID; else it is not repeated to whoever sent it."""
    try:
        return bool(check_uid(text))
    except DicomError:
        return False


def status_code(outcomes: Sequence[Outcome]) -> int:
    """Return the HTTP status of an answer (PS3.18 table 10.5.3-1): all, some or none of the instances were kept."""
    failed = [one.status for one in outcomes if one.status != SUCCESS]
    if not failed:
        return 200
    if len(failed) < len(outcomes):
        return 202
    return 503 if set(failed) == {NO_RESOURCES} else 409


def answer(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the Store Instances Response Module (PS3.18 table 10.5.3-2) as DICOM JSON."""
    named = [one for one in outcomes if is_uid(one.uid)]
    items = {
        "00081199": [_item(one) | {"00081190": {"vr": "UR"}} for one in named if one.status == SUCCESS],
        "00081198": [_item(one) | _reason(one) for one in named if one.status != SUCCESS],
        "0008119A": [_reason(one) for one in outcomes if not is_uid(one.uid)],       # Other Failures Sequence
    }
    # Retrieve URL (0008,1190) is of type 2 and empty: nothing is retrieved from here.
    return {"00081190": {"vr": "UR"}} | {tag: {"vr": "SQ", "Value": some} for tag, some in items.items() if some}


def _item(one: Outcome) -> dict[str, Any]:
    """Referenced SOP Class UID (0008,1150) and Instance UID (0008,1155)."""
    return {"00081150": {"vr": "UI", "Value": [one.sop_class]}, "00081155": {"vr": "UI", "Value": [one.uid]}}


def _reason(one: Outcome) -> dict[str, Any]:
    """Failure Reason (0008,1197)."""
    return {"00081197": {"vr": "US", "Value": [one.status]}}


def as_xml(dataset: Mapping[str, Any]) -> bytes:
    """Return a data set in DICOM JSON as the Native DICOM Model (PS3.19 A.1)."""
    root = Element("NativeDicomModel", {"xmlns": "http://dicom.nema.org/PS3.19/models/NativeDICOM"})
    _into(root, dataset)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def _into(parent: Element, dataset: Mapping[str, Any]) -> None:
    for tag, element in dataset.items():
        named = {"tag": tag, "vr": element["vr"], "keyword": keyword_for_tag(int(tag, 16))}
        made = SubElement(parent, "DicomAttribute", named)
        for number, value in enumerate(element.get("Value", ()), 1):
            inner = SubElement(made, "Item" if element["vr"] == "SQ" else "Value", {"number": str(number)})
            if element["vr"] == "SQ":
                _into(inner, value)
            else:
                inner.text = str(value)
