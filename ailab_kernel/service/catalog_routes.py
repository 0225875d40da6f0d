"""The catalog protocol over HTTP: one route a verb, each with the act that it needs.

`ground.remote_catalog` is the other side.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from ailab_kernel.ground.catalog import ACCEPTED, REIDENTIFIED, RELEASED, UNKNOWN
from ailab_kernel.ground.errors import SealBroken, WrongUse
from ailab_kernel.ground.ids import sha256
from ailab_kernel.models.acceptance import KIND as CRITERIA
from ailab_kernel.models.acceptance import REVOKED, parse
from ailab_kernel.models.bundle import KIND as MODEL
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import values

from . import bodies, seals
from .bodies import Append, Known, Line, Point, Pseudonym, Reidentify, Release, Texts, Visit, spooled, told, whole
from .guard import Auditor, Keeper, Namer, Pointer, Reader, Reidentifier, Releaser, Signer, Witness, must
from .roles import Act

router = APIRouter(prefix="/catalog")
_OWN = "service."                              # audit events that only the service itself writes
_RESERVED = frozenset({"alias-moved", RELEASED, ACCEPTED, REIDENTIFIED, UNKNOWN})
_SOMEBODY = "(unknown)"
_NEWEST = (1 << 31) - 1                        # a version is a 32-bit integer in PostgreSQL

Object = Annotated[str, InPath(pattern=r"^[0-9a-f]{64}$")]
Kind = Annotated[str, Query(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_-]*$")]
Name = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


@router.get("/whoami")
def whoami(call: Reader) -> Response:
    """Who the caller is here: user, roles, acts."""
    return JSONResponse({"user": call.caller.user, "roles": sorted(call.caller.roles),
                         "acts": sorted(call.caller.acts)})  # fmt: skip


@router.get("/objects/{digest}")
def get_object(call: Reader, digest: Object) -> Response:
    """Bytes of an object, unchecked: who asks compares the digest."""
    return FileResponse(call.catalog.path(digest), media_type="application/octet-stream")


@router.get("/objects/{digest}/check")
def check_object(call: Reader, digest: Object) -> Response:
    """Whether the stored bytes still match; NotFound or SealBroken."""
    call.catalog.check(digest)
    return JSONResponse({"digest": digest})


@router.get("/objects/{digest}/wanted")
def wanted(call: Keeper, digest: Object) -> Response:
    """Whether an upload would bring anything new; asked first, so that a refusal comes before the bytes."""
    return JSONResponse({"wanted": not call.catalog.holds(digest), "limit": bodies.OBJECT_BYTES})


@router.put("/objects/{digest}")
async def put_object(call: Keeper, digest: Object, request: Request) -> Response:
    """Keep bytes that have this digest."""
    async with spooled(request, call.desk.spool, limit=bodies.OBJECT_BYTES) as spool:
        if spool.digest != digest:
            msg = f"the {spool.size} bytes that arrived are not object {digest[:12]}; send them again"
            raise SealBroken(msg)
        await run_in_threadpool(call.catalog.put, spool.path)
    return JSONResponse({"digest": digest})


@router.post("/records")
async def append(call: Keeper, request: Request) -> Response:
    """Write a record in the caller's name; acceptance criteria are for those alone who may set them."""
    new = await told(request, Append)
    if new.kind == CRITERIA:
        must(request, call, Act.CRITERIA)
        parse(str(new.body.get("toml", "")))
    try:
        record = await run_in_threadpool(
            lambda: call.catalog.append(new.kind, new.body, name=new.name, parents=new.parents))
    except UnicodeEncodeError:
        msg = "the record holds half a surrogate pair, which is no text; write it again as UTF-8"
        raise WrongUse(msg) from None
    return JSONResponse(asdict(record))


@router.get("/records")
def query(
    call: Reader, kind: Kind, *, name: Name | None = None,
    version: Annotated[int | None, Query(ge=0, le=_NEWEST)] = None,
    digest: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:  # fmt: skip
    """Matching records, oldest first."""
    return _rows(call.catalog.query(kind, name=name, version=version, digest=digest))


@router.post("/aliases")
async def point(call: Pointer, request: Request) -> Response:
    """Move an alias in the caller's name; a model's moves for a sealed validation of it only, or is revoked."""
    new = await told(request, Point)

    def _move() -> None:
        if new.kind == MODEL and new.reason.startswith(REVOKED) and not new.evidence:
            seals.may_revoke(call.catalog, new.name, new.alias, digest=new.digest, reason=new.reason)
        elif new.kind == MODEL:
            seals.must_speak(call.catalog, new.evidence, model=new.digest, alias=new.alias)
        call.catalog.point(new.kind, new.name, new.alias, digest=new.digest, reason=new.reason, evidence=new.evidence)

    await run_in_threadpool(_move)
    return JSONResponse({})


@router.get("/aliases")
def history(call: Reader, kind: Kind, name: Name) -> Response:
    """Every move of every alias of a name, oldest first."""
    return _rows(call.catalog.history(kind, name))


@router.get("/aliases/now")
def resolve(call: Reader, *, kind: Kind, name: Name, alias: Name) -> Response:
    """The record that an alias means now."""
    return JSONResponse(asdict(call.catalog.resolve(kind, name, alias)))


@router.get("/key")
def public_key(call: Reader) -> Response:
    """The public part of the lab's signing key."""
    return JSONResponse({"public": call.catalog.public_key()})


@router.post("/sign")
async def sign(call: Signer, request: Request) -> Response:
    """The lab's signature of a report's manifest, or of what it says of its own models; the trail says who had what."""
    data = await whole(request)
    sealed, told = await run_in_threadpool(seals.sealable, call.catalog, data)
    await run_in_threadpool(lambda: check(call.catalog, values(sealed, "manifest"), what="the report"))
    await run_in_threadpool(lambda: call.catalog.audit(f"{_OWN}signed", digest=sha256(data), **told))
    return JSONResponse({"signature": await run_in_threadpool(call.catalog.sign, data)})


@router.post("/verify")
async def verify(call: Reader, request: Request, signature: Annotated[str, Query(max_length=1000)]) -> Response:
    """Whether a signature is this lab's own on the body."""
    data = await whole(request)
    return JSONResponse({"ours": await run_in_threadpool(call.catalog.verify, data, signature)})


@router.post("/pseudonyms")
async def pseudonym(call: Namer, request: Request) -> Response:
    """The lab's stand-in for an identifying value; the value itself stands nowhere."""
    asked = await told(request, Pseudonym)
    found = await run_in_threadpool(call.catalog.pseudonym, asked.domain, asked.value)
    await run_in_threadpool(lambda: call.catalog.audit(f"{_OWN}pseudonym", domain=asked.domain, pseudonym=found))
    return JSONResponse({"pseudonym": found})


@router.post("/reidentifications")
async def reidentify(call: Reidentifier, request: Request) -> Response:
    """Whom a patient's pseudonym stands for; who asked, and why, stands in the trail. No route lists the map."""
    asked = await told(request, Reidentify)
    found = await run_in_threadpool(call.catalog.reidentify, asked.pseudonym, asked.reason)
    return JSONResponse({"identifier": found}, headers={"Cache-Control": "no-store"})


@router.post("/identifiers")
async def remember(call: Namer, request: Request) -> Response:
    """Keep identifying values as keyed hashes; no route gives them back."""
    asked = await told(request, Known)
    await run_in_threadpool(call.catalog.remember, asked.known)
    return JSONResponse({})


@router.post("/identifiers/found")
async def found(call: Reader, request: Request) -> Response:
    """Where known identifiers stand in texts. Whoever tries names one by one leaves a line each time they meet one."""
    asked = await told(request, Texts)
    seen = await run_in_threadpool(call.catalog.found, asked.texts)
    if seen:
        kinds = ",".join(sorted({one.kind for one in seen}))
        await run_in_threadpool(lambda: call.catalog.audit(f"{_OWN}identifier-met", kinds=kinds, places=str(len(seen))))
    return _rows(seen)


@router.post("/releases")
async def release(call: Releaser, request: Request) -> Response:
    """Write down that known identifiers were let out, and why."""
    asked = await told(request, Release)
    await run_in_threadpool(lambda: call.catalog.release(asked.places, asked.reason))
    return JSONResponse({})


@router.post("/audit")
async def audit(call: Keeper, request: Request) -> Response:
    """Add a line in the caller's name; what the service itself writes, nobody else can."""
    line = await told(request, Line)
    if line.event.startswith(_OWN) or line.event in _RESERVED:
        msg = f"audit event {line.event} is the service's own; name what happened otherwise"
        raise WrongUse(msg)
    await run_in_threadpool(lambda: call.catalog.audit(line.event, **line.detail))
    return JSONResponse({})


@router.post("/visits")
async def visit(call: Witness, request: Request) -> Response:
    """Write down a login, a logout or a failed login, in the name of whom the hub saw."""
    seen = await told(request, Visit)
    trail = call.desk.realms.lab.by(seen.user or _SOMEBODY)
    more = {"untold": str(seen.untold)} if seen.untold else {}
    await run_in_threadpool(lambda: trail.audit(f"{_OWN}{seen.event}", address=seen.address, seen=seen.at, **more))
    return JSONResponse({})


@router.get("/audit")
def audit_trail(call: Auditor) -> Response:
    """The audit trail, oldest first; that it was read stands in it."""
    trail = call.desk.realms.lab.audit_trail()
    call.catalog.audit(f"{_OWN}trail-read", lines=str(len(trail)))
    return JSONResponse(trail)


@router.get("/audit/findings")
def audit_findings(call: Auditor) -> Response:
    """What is wrong with the audit trail; nothing when it is as it was written."""
    return JSONResponse(list(call.desk.realms.lab.audit_findings()))


@router.get("/audit/anchor")
def audit_anchor(call: Auditor) -> Response:
    """The newest line, signed by the lab."""
    return JSONResponse(call.desk.realms.lab.audit_anchor())


@router.get("/refusals")
def refusals(call: Auditor) -> Response:
    """Who was refused what, where and how often, since the service started."""
    return JSONResponse(call.desk.refusals.counts())


def _rows(values: Any) -> Response:
    return JSONResponse([asdict(one) for one in values])
