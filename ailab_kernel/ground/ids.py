"""How things are named: digests of bytes, and references such as ``heart-wall@1`` or ``heart-wall@champion``."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import NameUnclear

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def sha256(data: bytes) -> str:
    """SHA-256 of ``data``, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no blanks: equal values, equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def check_name(name: str) -> str:
    """``name`` itself when it is kebab-case (``heart-wall``), else NameUnclear."""
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not a name: lower-case words joined by '-' are expected, e.g. heart-wall"
        raise NameUnclear(msg)
    return name


def _version(text: str) -> int:
    if int(text) < 1:
        msg = f"version {text} does not exist: versions count from 1"
        raise NameUnclear(msg)
    return int(text)


@dataclass(frozen=True)
class Ref:
    """A reference to a dataset or model: a name, and a version or an alias (neither: the newest version)."""

    name: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Read ``name``, ``name@3`` or ``name@alias``.

        Raises
        ------
        NameUnclear
            The text has another form.
        """
        name, at, tail = text.partition("@")
        check_name(name)
        if not at:
            return cls(name)
        if tail.isdecimal():
            return cls(name, version=_version(tail))
        return cls(name, alias=check_name(tail))

    def __str__(self) -> str:
        tail = self.alias or self.version
        return f"{self.name}@{tail}" if tail else self.name
