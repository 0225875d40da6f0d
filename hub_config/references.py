"""What the hub's variables refer to: files, and secrets that are never written into a variable or a log."""

import os
from collections.abc import Callable
from pathlib import Path

from ailab_kernel.ground.errors import SettingsError


def needed(variable: str) -> str:
    """Return a variable that cannot be left out as the others are set."""
    value = os.environ.get(variable, "")
    if not value:
        msg = f"{variable} is not set and is needed here; hub_config/house.py says what it is"
        raise SettingsError(msg)
    return value


def secret(variable: str) -> str:
    """Return the secret that a variable refers to, as ``env:NAME`` or ``file:/PATH``; it is never written down here.

    A named variable is taken out of the environment, so that nothing the hub starts inherits it.
    """
    kind, _, place = needed(variable).partition(":")
    if kind not in _PLACES or not place:
        msg = f"{variable}: 'env:NAME' or 'file:/PATH' is expected: where the secret is, not the secret itself"
        raise SettingsError(msg)
    value = _PLACES[kind](variable, place).strip()
    if not value:
        msg = f"{variable}: there is no secret at {kind}:{place}; put it there, or correct the reference"
        raise SettingsError(msg)
    return value


def _of_file(variable: str, place: str) -> str:
    path = Path(place)
    try:
        if path.stat().st_mode & 0o077:
            msg = f"{variable}: {place} can be read by others than its owner; chmod 600 it"
            raise SettingsError(msg)
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{variable}: {place} cannot be read ({type(error).__name__}); the hub's user needs to read it"
        raise SettingsError(msg) from None


_PLACES: dict[str, Callable[[str, str], str]] = {
    "env": lambda _, name: os.environ.pop(name, ""),
    "file": _of_file,
}


def file_of(variable: str) -> str:
    """Return the path that a variable names, which must be a file; empty when it is not set."""
    place = os.environ.get(variable, "")
    if place and not Path(place).is_file():
        msg = f"{variable} = {place!r}: there is no such file"
        raise SettingsError(msg)
    return place
