"""Which presentation contexts are accepted: every storage class in every transfer syntax, verification, commitment."""

from functools import cache

from pydicom.uid import UID_dictionary

from .pdu import Answer, Proposal

VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
# Service class application information of Storage (PS3.4 B.3.1): level 2, bits kept as they came, nothing coerced.
SUPPORT = bytes((2, 0, 2, 0, 0, 0))
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_LIVE = "1.2.840.10008.1.2.7."                 # SMPTE ST 2110: streams, never stored (PS3.5 A.7)
_STANDARD = "1.2.840.10008."
# Results of PS3.8 table 9-18.
_ACCEPTED, _NO_CLASS, _NO_SYNTAX = 0, 3, 4


def answers(proposals: tuple[Proposal, ...]) -> list[Answer]:
    """Answer each proposed context; a private storage class is one: its bytes are kept like any other's."""
    return [_answer(one) for one in proposals]


def _answer(one: Proposal) -> Answer:
    if not is_storage(one.abstract) and one.abstract not in (VERIFICATION, COMMITMENT):
        return Answer(one.number, _NO_CLASS)
    known = [syntax for syntax in one.syntaxes if is_syntax(syntax)]
    # Implicit VR forgets the VRs of private attributes: taken only where nothing better is offered.
    chosen = _EXPLICIT if known[:1] == [_IMPLICIT] and _EXPLICIT in known else next(iter(known), "")
    return Answer(one.number, _ACCEPTED, chosen) if chosen else Answer(one.number, _NO_SYNTAX)


@cache
def is_storage(uid: str) -> bool:
    """Whether a SOP class is of the Storage service class, or a private one that may be."""
    if not uid.startswith(_STANDARD):
        return bool(uid)
    name, kind = UID_dictionary.get(uid, ("", ""))[:2]
    return kind == "SOP Class" and "Storage" in name and "Commitment" not in name


@cache
def is_syntax(uid: str) -> bool:
    """Whether a transfer syntax is one that a file may have."""
    return UID_dictionary.get(uid, ("", ""))[1] == "Transfer Syntax" and not uid.startswith(_LIVE)
