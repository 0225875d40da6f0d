"""Bytes kept by their SHA-256, written once and never torn."""

import os
import re
import secrets
from pathlib import Path
from typing import Protocol

from .errors import NotFound, SealBroken, SettingsError
from .ids import sha256, sha256_file

_DIGEST = re.compile(r"[0-9a-f]{64}")


def sync_folder(folder: Path | str) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader or a crash sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


class ObjectStore(Protocol):
    """Content-addressed bytes: a digest names them for ever."""

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes, and return their SHA-256."""

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their digest."""

    def path(self, digest: str) -> Path:
        """Return a local, read-only file that holds the bytes (unchecked: large files are mapped, not read)."""

    def check(self, digest: str) -> None:
        """Raise NotFound or SealBroken unless the stored bytes still match ``digest``."""


class FolderStore:
    """Objects as files ``ab/cdef...`` under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes, and return their SHA-256."""
        digest = sha256(data) if isinstance(data, bytes) else sha256_file(data)
        path = self._place(digest)
        if not path.exists():
            atomic_write(path, data if isinstance(data, bytes) else data.read_bytes())
            path.chmod(0o444)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their digest."""
        data = self.path(digest).read_bytes()
        if sha256(data) != digest:
            raise SealBroken(changed(digest))
        return data

    def path(self, digest: str) -> Path:
        """Return the file that holds the bytes."""
        path = self._place(digest)
        if not path.is_file():
            msg = f"object {digest[:12]} is not in the store; restore it from a backup, or make its record again"
            raise NotFound(msg)
        return path

    def check(self, digest: str) -> None:
        """Raise NotFound or SealBroken unless the stored bytes still match ``digest``."""
        if sha256_file(self.path(digest)) != digest:
            raise SealBroken(changed(digest))

    def _place(self, digest: str) -> Path:
        return self._folder.joinpath(*_parts(digest))


class RemoteStore:
    """Objects behind an fsspec URL (``s3://bucket/objects`` ...), with a local cache folder."""

    def __init__(self, url: str, cache: Path) -> None:
        import fsspec

        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            msg = f"objects = {url!r} cannot be opened: {error}; a folder or an fsspec URL is expected"
            raise SettingsError(msg) from error
        self._cache = FolderStore(cache)

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes, and return their SHA-256; the upload is complete before it is named."""
        digest = self._cache.put(data)
        place = self._place(digest)
        if not self._files.exists(place):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(self._cache.path(digest)), place + ".part")
            self._files.mv(place + ".part", place)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their digest."""
        self._fetch(digest)
        return self._cache.get(digest)

    def path(self, digest: str) -> Path:
        """Return a local file that holds the bytes, fetched when it is not cached."""
        self._fetch(digest)
        return self._cache.path(digest)

    def check(self, digest: str) -> None:
        """Raise NotFound or SealBroken unless the bytes at the URL still match ``digest``."""
        if not self._files.exists(self._place(digest)):
            self._cache.path(digest)
        if sha256(self._files.cat_file(self._place(digest))) != digest:
            raise SealBroken(changed(digest))

    def _fetch(self, digest: str) -> None:
        try:
            self._cache.path(digest)
        except NotFound:
            if self._files.exists(self._place(digest)):
                self._cache.put(self._files.cat_file(self._place(digest)))

    def _place(self, digest: str) -> str:
        return "/".join((self._root, *_parts(digest)))


def _parts(digest: str) -> tuple[str, str]:
    """Folder and file name of an object; nothing but a digest becomes a path: ``../`` would lead out of the store."""
    if not _DIGEST.fullmatch(digest):
        msg = f"{digest[:12]!r} is no object's name: 64 hexadecimal digits are expected"
        raise NotFound(msg)
    return digest[:2], digest[2:]


def changed(digest: str) -> str:
    """Return the words for an object whose bytes no longer match."""
    return f"object {digest[:12]} changed on the disk: its bytes no longer have that SHA-256; restore it from a backup"
