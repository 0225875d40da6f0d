"""Lines of the audit trail as DICOM Audit Trail Messages (PS3.15 A.5, the successor of RFC 3881).

One line, one message, valid against the schema of A.5.1. A patient object is left out: the trail holds UIDs and
pseudonyms only. What the standard has no event for goes under the coding scheme 99AILAB.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from xml.etree.ElementTree import Element, SubElement, tostring

Line = Mapping[str, object]
_OURS = "99AILAB"
# Not allowed in XML 1.0, or no character at all.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MEANS = MappingProxyType({                    # PS3.16 CID 400 to 404, and 112002 of PS3.16 annex D
    "110100": "Application Activity", "110101": "Audit Log Used", "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed", "110104": "DICOM Instances Transferred", "110105": "DICOM Study Deleted",
    "110106": "Export", "110107": "Import", "110112": "Query", "110113": "Security Alert",
    "110114": "User Authentication", "110120": "Application Start", "110121": "Application Stop", "110122": "Login",
    "110123": "Logout", "110132": "Use of Restricted Function", "110135": "Object Security Attributes Changed",
    "110150": "Application", "110152": "Destination Role ID", "110153": "Source Role ID",
    "110180": "Study Instance UID", "110181": "SOP Class UID", "110182": "Node ID", "112002": "Series Instance UID",
})  # fmt: skip
_ROLES = MappingProxyType({"application": "110150", "destination": "110152", "source": "110153"})


@dataclass(frozen=True)
class Event:
    """How a line of the trail becomes a message.

    Attributes
    ----------
    code, kind
        EventID (CID 400) and EventTypeCode (CID 401, may be empty).
    action
        EventActionCode: C, R, U, D or E.
    outcome
        EventOutcomeIndicator: 0 done, 4 minor failure, 8 serious failure.
    user, system
        Roles (CID 402) of the person and of AI-LAB.
    stage
        ParticipantObjectDataLifeCycle (A.5.1.2.3); empty where it is not told.
    """

    code: str
    action: str
    kind: str = ""
    outcome: str = "0"
    user: str = ""
    system: str = ""
    stage: str = ""


_ALERT = Event("110113", "E", "110132", "4")
EVENTS: Mapping[str, Event] = MappingProxyType({
    "started": Event("110100", "E", "110120", system="application"),
    "ended": Event("110100", "E", "110121", system="application"),
    "login": Event("110114", "E", "110122"),
    "hub-login": Event("110114", "E", "110122"),
    "hub-logout": Event("110114", "E", "110123"),
    "hub-login-failed": Event("110114", "E", "110122", "4"),
    "archive-search": Event("110112", "E", user="destination", system="source"),
    "archive-retrieve": Event("110102", "E", user="destination", system="source", stage="6"),
    "archive-retrieved": Event("110104", "R", user="destination", system="source", stage="6"),
    "archive-broken-off": Event("110104", "R", outcome="8", user="destination", system="source", stage="6"),
    "archive-store": Event("110104", "C", user="source", system="destination", stage="13"),
    "received": Event("110104", "C", user="source", system="destination", stage="13"),
    "delivered": Event("110104", "R", user="destination", system="source", stage="6"),
    "archive-delete": Event("110105", "D", stage="15"),
    "access": Event("110103", "R", stage="6"),
    "intake": Event("110107", "C", user="destination", system="source", stage="2"),
    "context-read": Event("110103", "R", stage="6"),
    "import": Event("110107", "C", user="source", system="destination", stage="2"),
    "export": Event("110106", "R", user="destination", system="source", stage="10"),
    "deidentify": Event("110106", "R", user="destination", system="source", stage="7"),
    "trail-read": Event("110101", "R"),
    "trail-accepted": Event("110113", "E", "110135"),
    "alias-moved": Event("110113", "E", "110135"),
    "exit-blocked": _ALERT,
    "exit-released": _ALERT,
    "identifier-met": _ALERT,
    "reidentified": Event("110113", "E", "110132"),
    "reidentify-unknown": _ALERT,
    "refused": _ALERT,
})  # fmt: skip
_ADDRESS, _AT_THE_HUB = "address", "hub-"       # a detail of the hub's lines: where somebody came from
# What a detail of a line names: the code of its kind of ID.
_OBJECTS = MappingProxyType({"study": "110180", "series": "112002"})


def message(line: Line, *, source: str) -> bytes:
    """Return a line of the trail as an AuditMessage, UTF-8 XML without a declaration.

    Parameters
    ----------
    line
        ``seq``, ``at``, ``by``, ``event`` and ``detail`` (JSON), as `SqlCatalog.audit_trail` returns them.
    source
        AuditSourceID: which system reports.
    """
    name = str(line["event"]).removeprefix("service.").removeprefix("adapter.")
    event, detail = EVENTS.get(name), json.loads(str(line["detail"]))
    root = Element("AuditMessage")
    _identify(root, event or Event("", "E"), line, name)
    address = detail.pop(_ADDRESS, "") if name.startswith(_AT_THE_HUB) else ""
    _participants(root, event or Event("", "E"), who=((str(line["by"]), address), (source, "")))
    reported = SubElement(root, "AuditSourceIdentification", AuditSourceID=_plain(source))
    SubElement(reported, "AuditSourceTypeCode", {"csd-code": "4"})
    _objects(root, event or Event("", "E"), detail, source)
    return tostring(root, encoding="utf-8", xml_declaration=False)


def _identify(root: Element, event: Event, line: Line, name: str) -> None:
    told = {"EventActionCode": event.action, "EventDateTime": str(line["at"]), "EventOutcomeIndicator": event.outcome}
    where = SubElement(root, "EventIdentification", told)
    if event.code:
        _code(where, "EventID", event.code)
    else:
        SubElement(where, "EventID", {"csd-code": _plain(name), "codeSystemName": _OURS, "originalText": _plain(name)})
    if event.kind:
        _code(where, "EventTypeCode", event.kind)


def _participants(root: Element, event: Event, *, who: tuple[tuple[str, str], tuple[str, str]]) -> None:
    """Who asked, from which IP address where it is known, and AI-LAB itself; at least one in every message (A.5.2)."""
    for (name, address), role, asked in zip(who, (event.user, event.system), ("true", "false"), strict=True):
        part = SubElement(root, "ActiveParticipant", UserID=_plain(name), UserIsRequestor=asked)
        if address:
            part.attrib |= {"NetworkAccessPointID": _plain(address), "NetworkAccessPointTypeCode": "2"}
        if role:
            _code(part, "RoleIDCode", _ROLES[role])


def _objects(root: Element, event: Event, detail: Mapping[str, str], source: str) -> None:
    named = [(kind, uid) for kind in _OBJECTS for uid in str(detail.get(kind, "")).split(",") if uid]
    more = {key: str(value) for key, value in detail.items() if key not in _OBJECTS and value}
    if event.code == "110112":
        _query(root, source, detail)
        return
    for kind, uid in named:
        _object(root, _OBJECTS[kind], uid, kind=kind, event=event)
    if more or not named:
        _object(root, "110182", source, kind="AI-LAB", event=event, more=more)


def _object(
    root: Element, code: str, uid: str, *, kind: str, event: Event, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    stage = {"ParticipantObjectDataLifeCycle": event.stage} if event.stage else {}
    told = {"ParticipantObjectID": _plain(uid), "ParticipantObjectTypeCode": "2", "ParticipantObjectTypeCodeRole": "3"}
    where = SubElement(root, "ParticipantObjectIdentification", told | stage)
    _code(where, "ParticipantObjectIDTypeCode", code)
    SubElement(where, "ParticipantObjectName").text = kind
    for key, value in sorted(more.items()):
        SubElement(where, "ParticipantObjectDetail", type=_plain(key), value=_base64(value))
    if event.stage == "7":
        SubElement(SubElement(where, "ParticipantObjectDescription"), "Anonymized").text = "true"


def _query(root: Element, source: str, detail: Mapping[str, str]) -> None:
    """What was asked, without its values: those may name a patient (A.5.3.10)."""
    told = {"ParticipantObjectID": _plain(source), "ParticipantObjectTypeCode": "2",
            "ParticipantObjectTypeCodeRole": "24"}  # fmt: skip
    where = SubElement(root, "ParticipantObjectIdentification", told)
    _code(where, "ParticipantObjectIDTypeCode", "110182")
    SubElement(where, "ParticipantObjectQuery").text = _base64(json.dumps(detail, sort_keys=True))


def _code(parent: Element, name: str, code: str) -> None:
    means = _MEANS[code]
    SubElement(parent, name, {"csd-code": code, "codeSystemName": "DCM", "displayName": means, "originalText": means})


def _plain(text: str) -> str:
    """A token: no character that XML forbids, and never empty."""
    return " ".join(_NO_XML.sub("�", text).split()) or "unknown"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf8", "replace")).decode()
