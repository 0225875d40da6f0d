"""``POST /inference`` (ACR DSI, Platform-Model Communication for AI): what is asked, as far as the plan allows it.

A request names a rule of the plan as its algorithm and archives that the plan knows; an address or a password that only
the request knows is never used.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from ailab_kernel.adapter.ledger import Request, Work
from ailab_kernel.adapter.rules import Destination, Plan
from ailab_kernel.ground.errors import ParameterError

LONGEST = 1 << 20                              # bytes of a request
_ALGORITHM = "Algorithm"
_STUDIES = "DICOM_UID"
# The draft's priorities, 0 to 255 with 128 for normal, as the queue's: lower is sooner.
_PRIORITIES = ((255, 1), (129, 5), (128, 10), (0, 100))
_RUNNING, _OVER = frozenset({"running", "delivering"}), frozenset({"done", "failed", "held"})

_Uid = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]


class _Connection(BaseModel):
    name: str = ""
    uri: str = ""


class _Resource(BaseModel):
    interface: Literal["Algorithm", "DICOMweb", "DIMSE", "FHIR"]
    connectionDetails: _Connection = _Connection()


class _Series(BaseModel):
    SeriesInstanceUID: _Uid
    instances: tuple[Any, ...] = Field(default=(), max_length=0)


class _Study(BaseModel):
    StudyInstanceUID: _Uid
    series: tuple[_Series, ...] = ()


class _Details(BaseModel):
    type: Literal["DICOM_UID"]
    studies: Annotated[tuple[_Study, ...], Field(min_length=1, max_length=100)]


class _Metadata(BaseModel):
    details: _Details | None = None
    inputs: tuple[_Details, ...] = ()


class _Body(BaseModel):
    transactionID: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
    priority: Annotated[int, Field(ge=0, le=255)] = 128
    inputMetadata: _Metadata
    inputResources: tuple[_Resource, ...]
    outputResources: tuple[_Resource, ...] = ()


def read_request(data: bytes, plan: Plan, *, caller: str) -> Request:
    """Return the request in a body.

    Raises
    ------
    ParameterError
        What is missing or cannot be done; the message repeats no value of the request.
    """
    try:
        body = _Body.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        msg = f"{'.'.join(map(str, first['loc'])) or 'the body'}: {_said(first)}"
        raise ParameterError(msg) from None
    algorithms = [one.connectionDetails.name for one in body.inputResources if one.interface == _ALGORITHM]
    rule = next((one for one in plan.rules if algorithms == [one.name]), None)
    if rule is None:
        msg = "inputResources: exactly one Algorithm is expected, its connectionDetails.name a rule of adapter.toml"
        raise ParameterError(msg)
    details = [*body.inputMetadata.inputs, *([body.inputMetadata.details] if body.inputMetadata.details else [])]
    if not details:
        msg = f"inputMetadata: details or inputs of the type {_STUDIES} are expected"
        raise ParameterError(msg)
    archives = [one for one in plan.destinations if not one.tells]
    asked_of = [one for one in body.inputResources if one.interface != _ALGORITHM]
    sources = _known(asked_of, archives, what="inputResources")
    if len(sources) > 1:
        msg = "inputResources: one archive at most is expected, which has all of the studies"
        raise ParameterError(msg)
    send = _known(body.outputResources, plan.destinations, what="outputResources")
    asked = {
        "studies": [{"study_uid": study.StudyInstanceUID, "series": [one.SeriesInstanceUID for one in study.series]}
                    for one in details for study in one.studies],
        "source": next(iter(sources), ""),
        "priority": next(ours for least, ours in _PRIORITIES if body.priority >= least),
        **({"send": send} if send else {}),
    }  # fmt: skip
    return Request(body.transactionID, caller, rule.name, asked)


def told(request: Request, work: Iterable[Work]) -> dict[str, Any]:
    """Return how a request stands, in the draft's words and in ours."""
    pieces = list(work)
    states = {one.state for one in pieces}
    over = bool(pieces) and states <= _OVER
    return {
        "transactionID": request.transaction,
        "state": "Completed" if over else "InProcess" if states & (_RUNNING | _OVER) else "Queued",
        "status": "Unknown" if not over else "Success" if states == {"done"} else "Fail",
        "work": [{"id": one.id, "StudyInstanceUID": one.study_uid, "state": one.state, "reason": one.reason}
                 for one in pieces],
    }  # fmt: skip


def _known(resources: Iterable[_Resource], known: Iterable[Destination], *, what: str) -> list[str]:
    """Names of the plan's destinations that are asked for, by name or by address."""
    by_address = {_address(one.url): one.name for one in known}
    by_name = set(by_address.values())
    found = []
    for one in resources:
        asked = one.connectionDetails
        name = asked.name if asked.name in by_name else by_address.get(_address(asked.uri) if asked.uri else "")
        if name is None:
            msg = f"{what}: a [[destination]] of adapter.toml is expected, by its name or its address"
            raise ParameterError(msg)
        found.append(name)
    return list(dict.fromkeys(found))


def _address(url: str) -> str:
    """An archive's URL as another would write it: without ``dicomweb+``, user, options and last slash."""
    try:
        parts = urlsplit(url.removeprefix("dicomweb+"))
    except ValueError:
        return "(no address)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/").lower()


def _said(error: Mapping[str, Any]) -> str:
    if error["loc"][-1:] == ("instances",):
        return "single instances cannot be chosen; a series is worked on whole"
    if error["loc"][-1:] == ("type",):
        return f"{_STUDIES} is expected: studies are named by their UID here, not by patient or accession number"
    return str(error["msg"])
