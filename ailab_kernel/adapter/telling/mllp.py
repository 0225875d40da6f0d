"""One HL7 message over MLLP (HL7 Transport Specification, Release 1), and what the receiver says to it."""

import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

from ailab_kernel.ground.errors import ArchiveRefused, ArchiveUnreachable

_START, _END = b"\x0b", b"\x1c\r"
_TIMEOUT_S, _MOST = 30.0, 1 << 20              # bytes of an answer
_TAKEN = ("AA", "CA")                          # MSA-1, table 0008


def send(place: tuple[str, int], message: bytes, *, control_id: str, ca: str = "", tls: bool = False) -> None:
    """Send a message and wait for its acknowledgement.

    Parameters
    ----------
    place
        Host and port.
    message
        Segments, each ended by a carriage return.
    control_id
        MSH-10, which the acknowledgement must repeat (MSA-2).
    ca, tls
        Whether TLS is spoken, and the file of the authority that signs the receiver's certificate.

    Raises
    ------
    ArchiveUnreachable
        Nobody answers; worth another try with the same control ID.
    ArchiveRefused
        It answers, but does not take the message.
    """
    try:
        with _connected(place, ca=ca, tls=tls) as line:
            line.sendall(_START + message + _END)
            answer = _answer(line)
    except (OSError, ssl.SSLError) as error:
        msg = f"no acknowledgement from {place[0]}:{place[1]} ({type(error).__name__})"
        raise ArchiveUnreachable(msg) from None
    said = next((one.split("|") for one in answer.decode("utf8", "replace").split("\r") if one.startswith("MSA|")), [])
    code, about = (said + [""] * 3)[1:3]
    if about != control_id or code not in _TAKEN:
        # Not the receiver's own text: it may repeat the message.
        what = f"answers {code!r} to the message" if about == control_id else "answers to another message"
        msg = f"{place[0]}:{place[1]} {what}; its own log tells why"
        raise ArchiveRefused(msg)


def _connected(place: tuple[str, int], *, ca: str, tls: bool) -> socket.socket:
    line = socket.create_connection(place, timeout=_TIMEOUT_S)
    if not tls:
        return line
    context = ssl.create_default_context(cafile=str(Path(ca)) if ca else None)
    with ExitStack() as opened:
        opened.enter_context(line)
        secured = context.wrap_socket(line, server_hostname=place[0])      # takes the socket over
        opened.pop_all()
    return secured


def _answer(line: socket.socket) -> bytes:
    """Everything up to the end of the block."""
    came = b""
    while not came.endswith(_END) and len(came) < _MOST:
        part = line.recv(65536)
        if not part:
            break
        came += part
    return came.strip(_START + _END)
