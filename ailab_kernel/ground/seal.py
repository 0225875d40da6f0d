"""Keys and what they prove and hide: Ed25519 signatures, keyed pseudonyms, AES-256-GCM (RFC 8032, 2104, 5116)."""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from .errors import SealBroken, WrongUse
from .store import sync_folder

_SIZE, _NONCE = 32, 12
_PUBLIC = re.compile("[0-9a-f]{64}")


class Keys:
    """The lab's secrets, files of 32 bytes readable by their owner only: to sign, for pseudonyms, for the index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: bytes | None = None

    def sign(self, data: bytes) -> str:
        """Ed25519 signature of ``data``, hex."""
        return self._private().sign(data).hex()

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether ``signature`` (hex) is this key's on ``data``."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._private().public_key().verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError):
            return False
        return True

    def public(self) -> str:
        """Public part of the signing key, 64 hex digits: what others verify with."""
        return self._private().public_key().public_bytes_raw().hex()

    def pseudonym(self, domain: str, value: str) -> str:
        """First 16 hex digits of HMAC-SHA-256 over domain and value: stable, and one-way without the key."""
        text = f"{domain}\x1f{value}".encode()
        return hmac.new(self._secret("pseudonym.key"), text, hashlib.sha256).hexdigest()[:16]

    def hashed(self, phrase: str) -> str:
        """First 32 hex digits of HMAC-SHA-256 over a phrase, with a key of its own: finds, and never shows."""
        if self._index is None:
            self._index = self._secret("index.key")
        return hmac.digest(self._index, phrase.encode("utf8", "replace"), "sha256").hex()[:32]

    def hide(self, text: str, *, name: str) -> str:
        """Return a text as only this lab reads it, hex: AES-256-GCM, bound to ``name``."""
        nonce = secrets.token_bytes(_NONCE)
        return (nonce + self._hiding().encrypt(nonce, text.encode(), name.encode())).hex()

    def shown(self, hidden: str, *, name: str) -> str:
        """Return what :meth:`hide` was given.

        Raises
        ------
        SealBroken
            It was changed, stands at another name, or was hidden with another key.
        """
        from cryptography.exceptions import InvalidTag

        try:
            data = bytes.fromhex(hidden)
            return self._hiding().decrypt(data[:_NONCE], data[_NONCE:], name.encode()).decode()
        except (InvalidTag, ValueError):
            msg = f"what is kept for {name} was changed, or hidden with another key; restore catalog and keys together"
            raise SealBroken(msg) from None

    def _hiding(self):  # noqa: ANN202 - cryptography is imported late
        """A cipher whose key follows from that of the pseudonyms (RFC 5869): a backup of one is of both."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESGCM(HKDF(SHA256(), _SIZE, None, b"ailab patients").derive(self._secret("pseudonym.key")))

    def _private(self):  # noqa: ANN202 - cryptography is imported late
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._secret("signing.key"))

    def _secret(self, name: str) -> bytes:
        path = self._folder / name
        if not path.exists():
            self._create(path)
        return path.read_bytes()

    def _create(self, path: Path) -> None:
        """Write a new secret; of two processes that start together, the first one's stands."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_SIZE))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        sync_folder(self._folder)


def signed_by(public: str, data: bytes, signature: str) -> bool:
    """Whether ``signature`` (hex) on ``data`` is by the key whose public part (hex) this is, of whatever lab."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: str) -> str:
    """First 32 hex digits of the SHA-256 of a public key (hex), by which people compare it over the telephone.

    Raises
    ------
    WrongUse
        No public key.
    """
    if not _PUBLIC.fullmatch(public):
        msg = "that is no public key: 64 digits of 0-9 and a-f are expected, as ailab models key shows them"
        raise WrongUse(msg)
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:32]
