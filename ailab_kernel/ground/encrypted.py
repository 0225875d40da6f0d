"""Objects encrypted at rest: AES-256-GCM in pieces (STREAM, Hoang et al. 2015), the key by reference.

An object is still named by the SHA-256 of what it says, so that equal objects can be seen to be equal. Plain bytes
never touch the disk: who needs a file gets one in memory.
"""

import hashlib
import os
import secrets
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import SealBroken, SettingsError
from .ids import sha256, sha256_file
from .store import FolderStore, atomic_write, changed

_MARK = b"AILABENC1"
_PREFIX, _TAG, _PIECE = 7, 16, 16 << 20
_OPEN_FILES = 64
_nonce = struct.Struct(f">{_PREFIX}sI?").pack


class EncryptedStore(FolderStore):
    """Objects as encrypted files under one folder.

    Parameters
    ----------
    folder
        Where they are.
    key
        32 bytes, or their 64 hex digits.

    Raises
    ------
    SettingsError
        The key has another length.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        super().__init__(folder)
        self._key = _key_of(key)
        self._plain: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes, and return their SHA-256."""
        digest = sha256(data) if isinstance(data, bytes) else sha256_file(data)
        path = self._place(digest)
        if not path.exists():
            plain = data if isinstance(data, bytes) else data.read_bytes()
            atomic_write(path, b"".join(self._sealed(plain, digest)))
            path.chmod(0o444)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their digest."""
        data = b"".join(self._opened(digest))
        if sha256(data) != digest:
            raise SealBroken(changed(digest))
        return data

    def path(self, digest: str) -> Path:
        """Return a file in memory that holds the bytes; open it soon, the next ones take its place."""
        with self._lock:
            if digest not in self._plain:
                self._plain[digest] = self._in_memory(digest)
            self._plain.move_to_end(digest)
            while len(self._plain) > _OPEN_FILES:
                os.close(self._plain.popitem(last=False)[1])
            return Path(f"/proc/self/fd/{self._plain[digest]}")

    def check(self, digest: str) -> None:
        """Raise NotFound or SealBroken unless the stored bytes still match ``digest``."""
        found = hashlib.sha256()
        for piece in self._opened(digest):
            found.update(piece)
        if found.hexdigest() != digest:
            raise SealBroken(changed(digest))

    def _in_memory(self, digest: str) -> int:
        handle = os.memfd_create(f"ailab-{digest[:12]}", os.MFD_CLOEXEC)
        with ExitStack() as undo:
            undo.callback(os.close, handle)
            for piece in self._opened(digest):
                view = memoryview(piece)
                while view:
                    view = view[os.write(handle, view):]
            undo.pop_all()
        return handle

    def _sealed(self, plain: bytes, digest: str) -> Iterator[bytes]:
        prefix, cipher, name = secrets.token_bytes(_PREFIX), _cipher(self._key), digest.encode()
        yield _MARK + prefix
        count = max(1, -(-len(plain) // _PIECE))
        for number in range(count):
            piece = plain[number * _PIECE:(number + 1) * _PIECE]
            yield cipher.encrypt(_nonce(prefix, number, number == count - 1), piece, name)

    def _opened(self, digest: str) -> Iterator[bytes]:
        """Plain pieces; SealBroken where the file was changed, cut, or encrypted with another key."""
        from cryptography.exceptions import InvalidTag

        cipher, name = _cipher(self._key), digest.encode()
        with super().path(digest).open("rb") as file:
            head = file.read(len(_MARK) + _PREFIX)
            left = os.fstat(file.fileno()).st_size - len(head)
            if not head.startswith(_MARK) or not left:
                msg = f"object {digest[:12]} is not encrypted as the lab's objects are; was the key set later?"
                raise SealBroken(msg)
            number = 0
            while left > 0:
                piece = file.read(_PIECE + _TAG)
                left -= len(piece)
                try:
                    yield cipher.decrypt(_nonce(head[len(_MARK):], number, left <= 0), piece, name)
                except InvalidTag:
                    msg = f"object {digest[:12]} changed on the disk, or was encrypted with another key"
                    raise SealBroken(msg) from None
                number += 1


def _key_of(key: bytes) -> bytes:
    text = key.strip()
    if len(text) == 64:
        try:
            return bytes.fromhex(text.decode("ascii"))
        except ValueError:
            pass
    if len(key) != 32:
        msg = f"objects_key: the key has {len(key)} bytes; 32, or 64 hex digits, are needed: openssl rand -hex 32"
        raise SettingsError(msg)
    return key


@lru_cache(maxsize=4)
def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
