"""A DIMSE peer: where it is, what both sides are called, and how its URL is written."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ailab_kernel.archives.found import ANSWER_S, seconds
from ailab_kernel.ground.errors import SettingsError

_OPTIONS = ("retrieve", "listen", "timeout", "ca", "cert", "key")
_CALLING = "AILAB"
_PORTS = {"dimse": 104, "dimse+tls": 2762}     # registered for DICOM and for DICOM over TLS (PS3.8 9.1.2, PS3.15 B)
_LISTEN = ("127.0.0.1", 11112)
_AET = 16                                      # characters of an AE title (PS3.5 section 6.2)
_EXAMPLE = "write dimse://AILAB@host:4242/CALLED"


@dataclass(frozen=True)
class Tls:
    """Secure transport (PS3.15 B): files of the trusted authority, and of our own certificate and key; "" for none."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    def context(self, *, serving: bool = False) -> ssl.SSLContext:
        """To call a peer, whose certificate and host name are always checked; or to be called, with ours to show.

        Raises
        ------
        SettingsError
            A file that is absent or holds no certificate or key.
        """
        if serving and not self.cert:
            raise SettingsError("C-MOVE over TLS needs a certificate of our own; give it by cert= and key= in the "
                                "archive's URL, or retrieve by C-GET")
        try:
            purpose = ssl.Purpose.CLIENT_AUTH if serving else ssl.Purpose.SERVER_AUTH
            made = ssl.create_default_context(purpose, cafile=self.ca or None)
            if serving and self.ca:
                made.verify_mode = ssl.CERT_REQUIRED
            if self.cert:
                made.load_cert_chain(self.cert, self.key or None)
        except OSError as error:               # an SSLError is one
            raise SettingsError(f"the certificate, key or authority in the archive's URL cannot be used "
                                f"({error.strerror or type(error).__name__}); give PEM files by ca=, cert= and key="
                                ) from None
        return made


@dataclass(frozen=True)
class Peer:
    """A DICOM application entity on the network.

    Attributes
    ----------
    called, calling
        Its AE title and ours.
    timeout_s
        Longest silence before it counts as unreachable, in seconds.
    retrieve
        ``get`` (C-GET), ``move`` (C-MOVE to ``calling``), or ``either``: C-GET, and C-MOVE where that is not offered.
    listen
        Address and port of our own storage SCP, which the peer must know as the place of ``calling``.
    """

    host: str
    port: int
    called: str
    calling: str = _CALLING
    timeout_s: float = ANSWER_S
    retrieve: str = "get"
    listen: tuple[str, int] = _LISTEN
    tls: Tls | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """AE title, host and port, to name the peer by."""
        return f"{self.called} at {self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its URL without the options."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'dimse+tls' if self.tls else 'dimse'}://{self.calling}@{host}:{self.port}/{self.called}"


def peer_of(url: str) -> Peer:
    """``dimse(+tls)://[CALLING@]host[:port]/CALLED[?retrieve=move&listen=[ADDRESS:]PORT&timeout=SECONDS]``.

    The port is 104 (2762 with TLS) and CALLING is AILAB where they are left out. For C-MOVE the PACS must know CALLING
    as a destination at ADDRESS:PORT of this machine (127.0.0.1:11112 where it is left out). With TLS, ``ca=FILE`` is
    the authority to trust instead of the system's, ``cert=FILE`` and ``key=FILE`` are shown to a peer that asks.

    Raises
    ------
    SettingsError
        No host or AE title, or an option that there is not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except ValueError as error:
        raise SettingsError(f"the archive's URL has no valid host and port; {_EXAMPLE}") from error
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise SettingsError(f"unknown option {', '.join(unknown)} in the archive's URL; use {', '.join(_OPTIONS)}")
    if not parts.hostname:
        raise SettingsError(f"the archive's URL names no host; {_EXAMPLE}")
    return Peer(parts.hostname, port, _aet(unquote(parts.path.strip("/"))), _aet(unquote(parts.username or _CALLING)),
                seconds(options.get("timeout")), _way(options), _place(options.get("listen")),
                _tls(options) if parts.scheme == "dimse+tls" else None)


def _aet(text: str) -> str:
    if not 0 < len(text.strip()) <= _AET or not text.isascii() or not text.isprintable() or "\\" in text:
        raise SettingsError(f"an AE title in the archive's URL has {len(text)} characters or odd ones; expected 1 to "
                            f"{_AET} plain letters, {_EXAMPLE}")
    return text.strip()


def _way(options: dict[str, str]) -> str:
    way = options.get("retrieve", "either" if "listen" in options else "get")
    if way not in ("get", "move", "either"):
        raise SettingsError(f"retrieve={way} in the archive's URL is no way to retrieve; write get, move or either")
    return way


def _place(text: str | None) -> tuple[str, int]:
    if text is None:
        return _LISTEN
    address, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise SettingsError(f"listen={text} in the archive's URL is no port; write listen=11112, or ADDRESS:PORT")
    return address.strip("[]") or _LISTEN[0], int(port)


def _tls(options: dict[str, str]) -> Tls:
    found = Tls(*(str(Path(options[name]).expanduser()) if options.get(name) else "" for name in ("ca", "cert", "key")))
    found.context()
    return found
