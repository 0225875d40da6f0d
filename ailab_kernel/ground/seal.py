"""Keys and what they prove: Ed25519 signatures and keyed pseudonyms (RFC 8032, RFC 2104)."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from .store import sync_folder

_SIZE = 32


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

    def pseudonym(self, domain: str, value: str) -> str:
        """First 16 hex digits of HMAC-SHA-256 over domain and value: stable, and one-way without the key."""
        text = f"{domain}\x1f{value}".encode()
        return hmac.new(self._secret("pseudonym.key"), text, hashlib.sha256).hexdigest()[:16]

    def hashed(self, phrase: str) -> str:
        """First 32 hex digits of HMAC-SHA-256 over a phrase, with a key of its own: finds, and never shows."""
        if self._index is None:
            self._index = self._secret("index.key")
        return hmac.digest(self._index, phrase.encode("utf8", "replace"), "sha256").hex()[:32]

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
