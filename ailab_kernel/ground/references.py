"""Secrets by reference: a setting says where a secret is, never what it is, so that no record or log can hold it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from .errors import MissingExtra, SettingsError

FORMS = "env:NAME, file:/PATH (mode 600) or keyring:SERVICE/NAME"


def secret(reference: str, *, what: str) -> bytes:
    """Return the secret that a reference leads to.

    Parameters
    ----------
    reference
        ``env:NAME``, ``file:/PATH`` or ``keyring:SERVICE/NAME``.
    what
        Which setting it belongs to, for the error.

    Raises
    ------
    SettingsError
        It leads nowhere, or others can read it.
    """
    kind, _, place = reference.partition(":")
    if kind not in _PLACES or not place:
        msg = f"{what}: {FORMS} is expected: where the secret is, not the secret itself"
        raise SettingsError(msg)
    found = _PLACES[kind](place, what)
    if not found:
        msg = f"{what}: there is no secret at {kind}:{place}; put it there, or correct the reference"
        raise SettingsError(msg)
    return found


def without_password(url: str) -> str:
    """Return an archive's URL as it is.

    Raises
    ------
    SettingsError
        A password stands in it, which settings, records and process lists would repeat.
    """
    try:
        inline = urlsplit(url).password
    except ValueError:
        inline = None                          # whoever opens it says what is wrong
    if inline is None:
        return url
    msg = ("a password stands in the archive's URL; write USER@HOST in it and ?password_env=NAME behind it, and put "
           "the password into the environment variable NAME (or a token, with ?token_env=NAME)")  # fmt: skip
    raise SettingsError(msg)


def _of_file(place: str, what: str) -> bytes:
    path = Path(place)
    try:
        if path.stat().st_mode & 0o077:
            msg = f"{what}: {place} can be read by others than its owner; chmod 600 it"
            raise SettingsError(msg)
        return path.read_bytes()
    except OSError as error:
        msg = f"{what}: {place} cannot be read ({error.strerror}); check the path, and that this user may read it"
        raise SettingsError(msg) from None


def _of_keyring(place: str, what: str) -> bytes:
    service, _, name = place.partition("/")
    try:
        import keyring
    except ImportError:
        msg = f"{what}: keyring: needs a library; pip install keyring, or use env: or file:"
        raise MissingExtra(msg) from None
    return (keyring.get_password(service, name) or "").encode()


_PLACES: Mapping[str, Callable[[str, str], bytes]] = MappingProxyType({
    "env": lambda name, _: os.environ.get(name, "").encode(), "file": _of_file, "keyring": _of_keyring,
})  # fmt: skip
