"""What a request brings: read in pieces, bounded, and taken only in the form that was asked for."""

import hashlib
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool

from ailab_kernel.ground.errors import WrongUse

JSON_BYTES = 16 << 20
OBJECT_BYTES = 2 << 30
STOW_BYTES = 1 << 30

# No control characters: a database may refuse them, and a log line would break.
Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Kind = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_-]*$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DigestOrNone = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Note = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class Body(BaseModel):
    """A JSON body; a field that is not asked for (``made_by``, ``role``) is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Append(Body):
    """A record to write; who made it is not theirs to say."""

    kind: Kind
    body: dict[str, Any]
    name: Name = ""
    parents: list[Digest] = []


class Point(Body):
    """An alias to move; an empty digest is nothing."""

    kind: Kind
    name: Name
    alias: Name
    digest: DigestOrNone
    reason: Note = ""
    evidence: DigestOrNone = ""


class Pseudonym(Body):
    """An identifying value to find the stand-in of."""

    domain: Kind
    value: Annotated[str, StringConstraints(max_length=1000)]


class Reidentify(Body):
    """A pseudonym to find the patient of, and why."""

    pseudonym: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    reason: Annotated[Note, Field(min_length=1)]


class Visit(Body):
    """What the hub saw of a login: who (empty where that may be a password in the wrong field), from where, when.

    ``untold`` is how many failed logins before it have no line, of a flood of them.
    """

    event: Literal["hub-login", "hub-logout", "hub-login-failed"]
    user: Name
    address: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f.:]{0,45}$")] = ""
    at: Annotated[str, StringConstraints(pattern=r"^[0-9T:+.-]{1,40}$")]
    untold: Annotated[int, Field(ge=0)] = 0


class Known(Body):
    """Identifying values, by DICOM keyword."""

    known: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,40}$")],
                list[Annotated[str, StringConstraints(max_length=1000)]]]  # fmt: skip


class Texts(Body):
    """Texts that are to be searched."""

    texts: list[str]


class Release(Body):
    """Known identifiers that are let out."""

    places: Annotated[list[Note], Field(min_length=1, max_length=1000)]
    reason: Annotated[Note, Field(min_length=1)]


class Line(Body):
    """A line for the audit trail."""

    event: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[a-z][a-z0-9.-]*$")]
    detail: dict[Kind, Note] = {}


Model = TypeVar("Model", bound=Body)


@dataclass(frozen=True)
class Spooled:
    """A body on the disk, gone when the request is answered; its SHA-256 was taken on the way."""

    path: Path
    digest: str
    size: int


async def blocks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives; 413 once it is, or says it is, longer than ``limit`` bytes."""
    said = request.headers.get("Content-Length", "0")
    size = int(said) if said.isdecimal() else 0
    if size > limit:
        _too_large(limit)
    size = 0
    async for block in request.stream():
        size += len(block)
        if size > limit:
            _too_large(limit)
        yield block


async def whole(request: Request, *, limit: int = JSON_BYTES) -> bytes:
    """Return a body that is small enough for the memory."""
    return b"".join([block async for block in blocks(request, limit)])


async def told(request: Request, kind: type[Model]) -> Model:
    """Return a JSON body as ``kind``; WrongUse names the field that does not fit, never its value."""
    data = await whole(request)
    try:
        return kind.model_validate(json.loads(data, parse_constant=_no_number))
    except ValidationError as error:
        raise WrongUse(misfit(error.errors())) from None
    except (ValueError, RecursionError) as error:
        msg = f"the body is no JSON that we take ({type(error).__name__}); send UTF-8 JSON with finite numbers"
        raise WrongUse(msg) from None


@asynccontextmanager
async def spooled(request: Request, folder: Path, *, limit: int) -> AsyncIterator[Spooled]:
    """Write a body to a file of ours (mode 0600) for as long as the block lasts."""
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        async for block in blocks(request, limit):
            digest.update(block)
            size += len(block)
            await run_in_threadpool(file.write, block)
        await run_in_threadpool(file.flush)
        yield Spooled(Path(file.name), digest.hexdigest(), size)


def misfit(errors: Any) -> str:
    """One line for the first thing that does not fit: where, and what would."""
    first = errors[0]
    where = ".".join(str(part)[:40] for part in first["loc"]) or "the body"
    return f"{where} does not fit: {first['msg']}"


def _no_number(text: str) -> NoReturn:
    msg = f"{text} is no number in JSON"
    raise ValueError(msg)


def _too_large(limit: int) -> NoReturn:
    raise HTTPException(413, f"more than the {limit} bytes accepted here; send less at once")
