"""DIMSE command sets (PS3.7 annex E): Implicit VR Little Endian, group 0000 only, of bounded length."""

import struct
from collections.abc import Mapping

from ailab_kernel.ground.errors import ProtocolBroken

LONGEST_COMMAND = 1 << 14                      # a command holds UIDs and numbers: some hundred bytes
# Command Field (0000,0100).
STORE, ECHO, ACTION, EVENT, CANCEL, ANSWER = 0x0001, 0x0030, 0x0130, 0x0100, 0x0FFF, 0x8000
# Elements of group 0000.
CLASS, REQUESTED_CLASS, FIELD, MESSAGE, ANSWERED, DATASET, STATUS = 0x02, 0x03, 0x100, 0x110, 0x120, 0x800, 0x900
COMMENT, INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE, ACTION_TYPE = 0x902, 0x1000, 0x1001, 0x1002, 0x1008
NO_DATASET = 0x0101
# Status (0000,0900): PS3.7 annex C, PS3.4 table B.2-1.
SUCCESS, NO_RESOURCES, OTHER_CLASS, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
NOT_AUTHORIZED, UNKNOWN_OPERATION, UNKNOWN_CLASS, FAILED = 0x0124, 0x0211, 0x0122, 0x0110
UNKNOWN_SYNTAX = 0xC122                        # of the web's door only (PS3.18 I.2.2)
_NUMBERS = frozenset({FIELD, MESSAGE, ANSWERED, DATASET, STATUS, EVENT_TYPE, ACTION_TYPE, 0x700, 0x1031})
_TEXTS = frozenset({CLASS, REQUESTED_CLASS, INSTANCE, REQUESTED_INSTANCE, COMMENT})
_LONGEST_COMMENT = 64                          # LO

Command = Mapping[int, int | str]


def read_command(data: bytes) -> dict[int, int | str]:
    """Return the elements of a command set by element number: numbers (US) and identifiers (UI); others are left out.

    Raises
    ------
    ProtocolBroken
        It is no command set.
    """
    found: dict[int, int | str] = {}
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            msg = "a command set is cut off"
            raise ProtocolBroken(msg)
        group, element, length = struct.unpack_from("<HHI", data, at)
        value = data[at + 8:at + 8 + length]
        if group or len(value) < length:
            msg = "a command set holds what no command has"
            raise ProtocolBroken(msg)
        at += 8 + length
        if element in _NUMBERS and length == 2:
            found[element] = int.from_bytes(value, "little")
        elif element in _TEXTS:
            found[element] = value.rstrip(b"\0 ").decode("ascii", "replace")
    if FIELD not in found or (MESSAGE not in found and not int(found[FIELD]) & ANSWER):
        msg = "a command set says neither what it is nor its number"
        raise ProtocolBroken(msg)
    return found


def command(elements: Command) -> bytes:
    """Return a command set with its group length (0000,0000), elements in order."""
    body = b"".join(_element(element, elements[element]) for element in sorted(elements))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def answer(request: Command, status: int, *, comment: str = "") -> bytes:
    """Return the response to a request: its number and classes, a status, and why where it is no success.

    Parameters
    ----------
    request
        Command set of the request.
    status
        Status (0000,0900).
    comment
        Error Comment (0000,0902); cut to 64 characters.
    """
    made: dict[int, int | str] = {
        FIELD: int(request[FIELD]) | ANSWER, ANSWERED: request[MESSAGE], DATASET: NO_DATASET, STATUS: status}
    copied = {CLASS: request.get(CLASS, request.get(REQUESTED_CLASS)),
              INSTANCE: request.get(INSTANCE, request.get(REQUESTED_INSTANCE)),
              ACTION_TYPE: request.get(ACTION_TYPE), **({COMMENT: comment[:_LONGEST_COMMENT]} if comment else {})}
    return command(made | {element: value for element, value in copied.items() if value is not None})


def _element(element: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return struct.pack("<HHIH", 0, element, 2, value)
    text = value.encode("ascii", "replace")
    text += (b" " if element == COMMENT else b"\0") * (len(text) % 2)
    return struct.pack("<HHI", 0, element, len(text)) + text
