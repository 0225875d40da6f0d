"""How we are called over TLS: BCP 195 (RFC 9325), which PS3.15 annex B.12 asks of DICOM; the key by reference."""

import os
import ssl

from .errors import SettingsError
from .references import secret

# RFC 9325 4.2: ephemeral keys and authenticated encryption. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(cert: str, key: str, *, what: tuple[str, str], ca: str = "") -> ssl.SSLContext:
    """Return what a server shows to its callers: TLS 1.2 or later.

    Parameters
    ----------
    cert
        PEM file of the certificate, those of its authorities behind it.
    key
        Reference to its private key, PEM without a passphrase (`references.secret`).
    what
        Names of the two settings, for the error.
    ca
        PEM file of authorities; a caller must then show a certificate of theirs.

    Raises
    ------
    SettingsError
        A file that is absent, holds nothing of the kind, or two that do not belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    made.set_ciphers(_CIPHERS)
    handle = os.memfd_create("server-key", os.MFD_CLOEXEC)     # ssl reads a key from files only
    try:
        os.write(handle, secret(key, what=what[1]))
        made.load_cert_chain(cert, f"/proc/self/fd/{handle}", password="")
    except (OSError, ValueError) as error:     # an SSLError is one
        msg = (f"{what[0]} and {what[1]} cannot be used ({_why(error)}); a PEM certificate and its own key, "
               "without a passphrase, are expected")  # fmt: skip
        raise SettingsError(msg) from None
    finally:
        os.close(handle)
    if ca:
        _trust(made, ca)
    return made


def _trust(made: ssl.SSLContext, ca: str) -> None:
    try:
        made.load_verify_locations(ca)
    except OSError as error:
        msg = f"ca = {ca!r} cannot be used ({_why(error)}); a PEM file of the authorities of callers is expected"
        raise SettingsError(msg) from None
    made.verify_mode = ssl.CERT_REQUIRED


def _why(error: Exception) -> str:
    reason = str(getattr(error, "reason", None) or "").lower().replace("_", " ")
    return reason or getattr(error, "strerror", "") or type(error).__name__
