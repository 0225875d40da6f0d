"""Audit messages to a log server of the hospital: syslog (RFC 5424) over TLS (RFC 5425), as PS3.15 A.6 has it."""

import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .audit_messages import Line, message
from .errors import CatalogError, SettingsError

_PRIORITY = 10 * 8 + 5                         # facility authorization, severity notice
_MSGID = "DICOM+RFC3881"                       # PS3.15 A.6
_BOM = b"\xef\xbb\xbf"                         # RFC 5424 6.4: the text is UTF-8
_ANSWER_S, _NO_S = 20.0, 1.0


@dataclass(frozen=True)
class Collector:
    """A log server.

    Attributes
    ----------
    host, port
        Where it listens; 6514 is registered.
    ca
        Certificates (PEM) of the authority that signed the server's; the system's where None.
    certificate, key
        Our own (PEM), for a server that asks who is calling.
    """

    host: str
    port: int = 6514
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def send(self, lines: Iterable[Line], *, source: str) -> int:
        """Send lines in one connection, and return the number of the last one; 0 where there was none.

        Raises
        ------
        CatalogError
            Nobody there, or the connection ended before everything was read: the lines are to be sent again.
        SettingsError
            A certificate that cannot be used.
        """
        last = 0
        try:
            with self._connected() as stream:
                for line in lines:
                    stream.sendall(frame(line, source=source))
                    last = int(str(line["seq"]))
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or type(error).__name__
            msg = f"log server {self.host}:{self.port} did not take the trail ({reason}); nothing is lost, try again"
            raise CatalogError(msg) from None
        return last

    @contextmanager
    def _connected(self) -> Iterator[ssl.SSLSocket]:
        context = self._context()
        with (socket.create_connection((self.host, self.port), timeout=_ANSWER_S) as plain,
              context.wrap_socket(plain, server_hostname=self.host) as stream):  # fmt: skip
            _check_welcome(stream)
            yield stream
            try:
                stream.unwrap()                # our close_notify, and theirs: they read everything (RFC 5425 4.4)
            except ssl.SSLEOFError:
                return                         # rsyslog reads ours and closes without one of its own

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            msg = f"a certificate for the log server cannot be used ({type(error).__name__}); PEM files are expected"
            raise SettingsError(msg) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2   # BCP 195
        return context


def _check_welcome(stream: ssl.SSLSocket) -> None:
    """Wait a moment for a no: in TLS 1.3 a server judges our certificate after the handshake. None is a yes."""
    if stream.version() != "TLSv1.3":
        return
    stream.settimeout(_NO_S)
    try:
        if not stream.recv(1):
            msg = "the connection was closed at once"
            raise ConnectionAbortedError(msg)
    except TimeoutError:
        stream.settimeout(_ANSWER_S)


def frame(line: Line, *, source: str) -> bytes:
    """Return a line of the trail as a syslog message, its length before it (RFC 5425 4.3.1)."""
    head = f"<{_PRIORITY}>1 {_header(line, source)} - "
    data = head.encode("ascii", "replace") + _BOM + message(line, source=source)
    return f"{len(data)} ".encode() + data


def _header(line: Mapping[str, object], source: str) -> str:
    host = "".join(sign for sign in source if 33 <= ord(sign) <= 126)[:255] or "-"
    return f"{line['at']} {host} ailab {os.getpid()} {_MSGID}"
