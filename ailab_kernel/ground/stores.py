"""Which store the settings ask for: a folder, an encrypted one, or a bucket."""

from pathlib import Path

from .encrypted import EncryptedStore
from .errors import SettingsError
from .references import secret
from .store import FolderStore, ObjectStore, RemoteStore


def open_store(url: str, *, home: Path, key: str = "") -> ObjectStore:
    """Open the store that the setting ``objects`` names.

    Parameters
    ----------
    url
        A folder below ``home``, or an fsspec URL.
    key
        Reference to the key that objects are encrypted with; empty: they are not.

    Raises
    ------
    SettingsError
        The key cannot be had, or the store cannot encrypt.
    """
    remote = "://" in url and not url.startswith("file://")
    if key and remote:
        msg = "objects_key encrypts a folder of objects; for a bucket let the bucket encrypt (server-side encryption)"
        raise SettingsError(msg)
    if remote:
        return RemoteStore(url, home / "cache" / "objects")
    if key:
        return EncryptedStore(home / url.removeprefix("file://"), secret(key, what="objects_key"))
    return FolderStore(home / url.removeprefix("file://"))
