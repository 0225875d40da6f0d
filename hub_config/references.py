"""What the hub's variables refer to: files, and secrets that are never written into a variable or a log."""

import os
from pathlib import Path

from ailab_kernel.ground import references
from ailab_kernel.ground.errors import SettingsError


def needed(variable: str) -> str:
    """Return a variable that cannot be left out as the others are set."""
    value = os.environ.get(variable, "")
    if not value:
        msg = f"{variable} is not set and is needed here; hub_config/house.py says what it is"
        raise SettingsError(msg)
    return value


def secret(variable: str) -> str:
    """Return the secret that a variable refers to, (`ailab_kernel.ground.references`); it is never written down here.

    A named variable is taken out of the environment, so that nothing the hub starts inherits it.
    """
    reference = needed(variable)
    try:
        value = references.secret(reference, what=variable).decode().strip()
    except UnicodeDecodeError:
        value = ""
    if not value:
        msg = f"{variable}: what {reference} leads to is no text; put the secret there as text"
        raise SettingsError(msg)
    kind, _, name = reference.partition(":")
    if kind == "env":
        del os.environ[name]
    return value


def file_of(variable: str) -> str:
    """Return the path that a variable names, which must be a file; empty when it is not set."""
    place = os.environ.get(variable, "")
    if place and not Path(place).is_file():
        msg = f"{variable} = {place!r}: there is no such file"
        raise SettingsError(msg)
    return place
