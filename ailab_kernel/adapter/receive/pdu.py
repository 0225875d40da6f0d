"""The upper layer's PDUs (PS3.8 section 9.3): what a requester asks for, and how it is answered.

Lengths are judged before anything is read into memory, so that a peer that announces 600 MB costs six bytes.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ailab_kernel.ground.errors import ProtocolBroken

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
HEAD = 6                                       # type, reserved, length (big endian)
LONGEST_REQUEST = 1 << 18                      # 128 contexts with every transfer syntax there is fit
APPLICATION = "1.2.840.10008.3.1.1.1"
# Sub-items of a request and of its answer (PS3.8 9.3.2, PS3.7 annex D.3.3).
_APPLICATION, _PROPOSED, _ACCEPTED, _USER = 0x10, 0x20, 0x21, 0x50
_ABSTRACT, _SYNTAX = 0x30, 0x40
_MAXIMUM, _CLASS, _ASYNC, _ROLE, _VERSION, _EXTENDED, _IDENTITY = 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x58
_FIXED = 68                                    # of a request before its items
_AET = slice(4, 20), slice(20, 36)             # called and calling


@dataclass(frozen=True)
class Proposal:
    """One presentation context that a requester proposes (PS3.8 9.3.2.2)."""

    number: int
    abstract: str
    syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A-ASSOCIATE-RQ, as far as it matters here.

    Attributes
    ----------
    maximum
        Longest P-DATA-TF that the requester takes, in bytes; 0: any.
    roles
        By SOP class: whether the requester would be SCU and SCP (PS3.7 D.3.3.4).
    extended
        By SOP class: its service class application information (PS3.7 D.3.3.5).
    identified
        Whether a user identity came that wants an answer (PS3.7 D.3.3.7).
    """

    called: str
    calling: str
    application: str
    proposals: tuple[Proposal, ...]
    maximum: int = 0
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    identified: bool = False
    version: int = 1


@dataclass(frozen=True)
class Answer:
    """One presentation context as it is answered; ``result`` 0 accepts (PS3.8 table 9-18)."""

    number: int
    result: int
    syntax: str = "1.2.840.10008.1.2"


def read_request(body: bytes) -> Request:
    """Return the request in an A-ASSOCIATE-RQ's body.

    Raises
    ------
    ProtocolBroken
        Its lengths do not fit, or an identifier is no text.
    """
    if len(body) < _FIXED:
        msg = f"an association request of {len(body)} bytes; at least {_FIXED} are expected"
        raise ProtocolBroken(msg)
    application, proposals, user = "", list[Proposal](), list[tuple[int, bytes]]()
    for kind, value in _items(body[_FIXED:]):
        if kind == _APPLICATION:
            application = _uid(value)
        elif kind == _PROPOSED:
            proposals.append(_proposal(value))
        elif kind == _USER:
            user.extend(_items(value))
    maximum = next((value for kind, value in user if kind == _MAXIMUM and len(value) == 4), b"\0\0\0\0")
    return Request(
        _aet(body[_AET[0]]), _aet(body[_AET[1]]), application, tuple(proposals), int.from_bytes(maximum),
        {uid: (rest[:1] == b"\1", rest[1:2] == b"\1") for uid, rest in _by_class(user, _ROLE)},
        dict(_by_class(user, _EXTENDED)), any(kind == _IDENTITY and value[1:2] == b"\1" for kind, value in user),
        int.from_bytes(body[:2]),
    )  # fmt: skip


def accept(request: Request, answers: list[Answer], *, maximum: int, implementation: str, support: bytes) -> bytes:
    """Return an A-ASSOCIATE-AC.

    Parameters
    ----------
    request
        What is answered: AE titles go back as they came (PS3.8 9.3.3).
    answers
        One a proposed context.
    maximum
        Longest P-DATA-TF that we take, in bytes.
    implementation
        Our Implementation Class UID (PS3.7 D.3.3.2).
    support
        Service class application information of Storage (PS3.4 B.3.1), sent for each class that asked.
    """
    contexts = b"".join(_item(_ACCEPTED, bytes((one.number, 0, one.result, 0)) + _item(_SYNTAX, one.syntax.encode()))
                        for one in answers)  # fmt: skip
    user = [_item(_MAXIMUM, struct.pack(">I", maximum)), _item(_CLASS, implementation.encode()),
            _item(_ASYNC, struct.pack(">HH", 1, 1)), _item(_VERSION, b"AILAB")]  # fmt: skip
    user += [_item(_ROLE, _named(uid) + bytes((scu, 0))) for uid, (scu, _) in request.roles.items()]
    user += [_item(_EXTENDED, _named(uid) + support) for uid in request.extended]
    user += [_item(0x59, b"\0\0")] if request.identified else []
    items = _item(_APPLICATION, APPLICATION.encode()) + contexts + _item(_USER, b"".join(user))
    titles = b"".join(title.encode("latin-1")[:16].ljust(16) for title in (request.called, request.calling))
    return pdu(ASSOCIATE_AC, struct.pack(">HH", 1, 0) + titles + bytes(32) + items)


def reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def abort(reason: int = 0) -> bytes:
    """Return an A-ABORT of the service provider (PS3.8 table 9-26)."""
    return pdu(ABORT, bytes((0, 0, 2, reason)))


def released() -> bytes:
    """Return an A-RELEASE-RP."""
    return pdu(RELEASE_RP, bytes(4))


def data(context: int, command: bytes) -> bytes:
    """Return a P-DATA-TF with one whole command set (PS3.8 9.3.5, annex E.2)."""
    return pdu(DATA, struct.pack(">IBB", len(command) + 2, context, 0b11) + command)


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU of any kind."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            msg = "an item of the association request is cut off"
            raise ProtocolBroken(msg)
        kind, length = data[at], int.from_bytes(data[at + 2:at + 4])
        at += 4 + length
        if at > len(data):
            msg = "an item of the association request is longer than the request"
            raise ProtocolBroken(msg)
        yield kind, data[at - length:at]


def _proposal(value: bytes) -> Proposal:
    if len(value) < 4:
        msg = "a presentation context of the association request is cut off"
        raise ProtocolBroken(msg)
    inner = list(_items(value[4:]))
    abstract = next((_uid(item) for kind, item in inner if kind == _ABSTRACT), "")
    return Proposal(value[0], abstract, tuple(_uid(item) for kind, item in inner if kind == _SYNTAX))


def _by_class(user: list[tuple[int, bytes]], wanted: int) -> Iterator[tuple[str, bytes]]:
    """Sub-items that begin with a SOP class, and what follows it."""
    for kind, value in user:
        if kind == wanted:
            length = int.from_bytes(value[:2])
            yield _uid(value[2:2 + length]), value[2 + length:]


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _named(uid: str) -> bytes:
    return struct.pack(">H", len(uid)) + uid.encode()


def _uid(value: bytes) -> str:
    """A UID as text; some peers pad it, though PS3.8 annex F says not to."""
    try:
        return value.rstrip(b"\0 ").decode("ascii")
    except UnicodeDecodeError:
        msg = "an identifier of the association request is no text"
        raise ProtocolBroken(msg) from None


def _aet(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")
