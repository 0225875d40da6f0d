"""How an account begins: an invitation with a first password, which the hub takes in at the first login.

An invitation is one file that only the hub's own user can read; it holds the password's bcrypt hash and the role,
counts for some days, and is gone once it was used. The hub's database is never written from outside.
"""

import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from ailab_kernel.ground.errors import MissingExtra, WrongUse

from .profiles import ROLES

NAME = r"[a-z][a-z0-9_.-]{0,31}"
_DAYS = 7.0


@dataclass(frozen=True)
class Invitation:
    """Who is invited as what, with the first password in plain text; it is kept nowhere."""

    name: str
    role: str
    password: str


def is_name(text: str) -> bool:
    """Return whether a text can be an account's name."""
    return re.fullmatch(NAME, text) is not None


def invite(folder: Path, name: str, *, role: str) -> Invitation:
    """Write an invitation; for somebody who has an account it is a new password.

    Raises
    ------
    WrongUse
        The name does not fit or the role does not exist.
    """
    if not is_name(name):
        msg = f"name {name[:40]!r}: a small letter, then up to 31 of a-z, 0-9, '.', '_' and '-' are expected"
        raise WrongUse(msg)
    if role not in ROLES:
        msg = f"role {role[:40]!r}: one of {', '.join(ROLES)} is expected"
        raise WrongUse(msg)
    password = "-".join(secrets.token_hex(3) for _ in range(4))
    told = {"role": role, "password": _bcrypt().hashpw(password.encode(), _bcrypt().gensalt()).decode(),
            "until": time.time() + _DAYS * 86400}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(told))
    return Invitation(name, role, password)


def accept(folder: Path, name: str, password: str) -> tuple[str, bytes] | None:
    """Use up an invitation when the password is its own, and return role and password hash; else None."""
    path = folder / f"{name}.json"
    if not is_name(name) or not path.is_file():
        return None
    told = json.loads(path.read_text())
    hashed = told["password"].encode()
    if told["until"] < time.time() or not _bcrypt().checkpw(password.encode()[:72], hashed):
        return None
    path.unlink()
    return told["role"], hashed


def _bcrypt():  # noqa: ANN202 - a module
    try:
        import bcrypt
    except ImportError:
        msg = "accounts need the hub's libraries: pip install 'ailab-kernel[hub]'"
        raise MissingExtra(msg) from None
    return bcrypt
