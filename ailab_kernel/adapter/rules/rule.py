"""The adapter's plan as TOML: who may send, where results go, and the rules; a mistake is named with its place."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ailab_kernel.adapter.receive import Caller, Callers
from ailab_kernel.adapter.telling import SCHEMES
from ailab_kernel.context import FhirServer, Kind
from ailab_kernel.ground.errors import SettingsError

from .conditions import Condition, Wished, condition
from .doors import Act, Bearer, HubDoor, Tls, WebDoor, check_secrecy
from .hours import Hours

FILE = "adapter.toml"
Priority = Literal["urgent", "normal", "off-peak"]
Choice = Literal["most-instances", "newest", "all"]
_Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]


@dataclass(frozen=True)
class Completeness:
    """When a study counts as whole.

    Attributes
    ----------
    quiet_s
        After so many seconds without a new instance.
    count
        ``archive``: not before as many are here as the archive lists; ``none``: quiet is enough.
    at_most_s
        Then it is held, with the reason that it never became whole.
    """

    quiet_s: float = 60.0
    count: Literal["none", "archive"] = "none"
    at_most_s: float = 3600.0


@dataclass(frozen=True)
class Destination:
    """Where results go: an archive's URL, or a reporting system's (`telling.tell`)."""

    name: str
    url: str

    @property
    def tells(self) -> bool:
        """Whether it is a reporting system, which gets a report and no objects."""
        return self.url.partition("://")[0] in SCHEMES


@dataclass(frozen=True)
class Rule:
    """What runs on which study.

    Attributes
    ----------
    when
        Conditions that the study's series meet: each by at least one series.
    series
        Conditions on the series that is worked on.
    choose
        Which of several such series.
    run
        Name of a report notebook.
    parameters
        Its parameters.
    send
        Names of the destinations of its results.
    minutes
        Until it must have ended; then it is held, and says so.
    memory_gb
        What it may use of memory before it is ended; 0: three quarters of the machine's.
    hold_when
        Codes or names by kind: where one of them is known of the patient, a person looks before it runs.
    """

    name: str
    when: tuple[Condition, ...]
    series: tuple[Condition, ...]
    run: str
    choose: Choice = "most-instances"
    complete: Completeness = field(default_factory=Completeness)
    priority: Priority = "normal"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    send: tuple[str, ...] = ()
    minutes: float = 60.0
    memory_gb: float = 0.0
    hold_when: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Everything that ``adapter.toml`` says.

    Attributes
    ----------
    tls
        Of the DIMSE door; None: plain.
    web
        The web's door; None: there is none.
    hours
        When work of the priority ``off-peak`` may run; None: whenever nothing else waits.
    context
        Who knows more of a patient, and is permitted to be asked; None: nobody is.
    """

    listen: tuple[str, int]
    callers: Callers
    destinations: tuple[Destination, ...]
    rules: tuple[Rule, ...]
    tls: Tls | None = None
    web: WebDoor | None = None
    hours: Hours | None = None
    context: FhirServer | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _CallerTable(_Strict):
    ae: Annotated[str, Field(min_length=1, max_length=16)]
    address: str = ""
    store: bool = True
    reply: Annotated[str, Field(pattern=r"^$|^\S+:\d{1,5}$")] = ""


class _DestinationTable(_Strict):
    name: _Name
    url: str


class _CompleteTable(_Strict):
    quiet_s: Annotated[float, Field(ge=0)] = 60.0
    count: Literal["none", "archive"] = "none"
    at_most_s: Annotated[float, Field(gt=0)] = 3600.0


class _RuleTable(_Strict):
    name: _Name
    run: _Name
    when: dict[str, Wished] = {}
    series: dict[str, Wished] = {}
    choose: Choice = "most-instances"
    complete: _CompleteTable = _CompleteTable()
    priority: Priority = "normal"
    parameters: dict[str, Any] = {}
    send: tuple[str, ...] = ()
    minutes: Annotated[float, Field(gt=0)] = 60.0
    memory_gb: Annotated[float, Field(ge=0)] = 0.0
    hold_when: dict[Kind, Annotated[tuple[str, ...], Field(min_length=1)]] = {}


class _ContextTable(_Strict):
    fhir: Annotated[str, Field(pattern=r"^https?://\S+$")]
    patient_system: str
    token: str = ""
    ca: str = ""
    permitted_by: Annotated[str, Field(min_length=3)]      # who allowed it: not optional


class _TlsTable(_Strict):
    cert: str
    key: str
    ca: str = ""


class _BearerTable(_Strict):
    name: _Name
    token: str
    may: Annotated[tuple[Act, ...], Field(min_length=1)]


class _HubTable(_Strict):
    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")]
    api: Annotated[str, Field(pattern=r"^$|^https?://\S+$")] = ""
    token: str
    ca: str = ""
    watch: tuple[str, ...] = HubDoor.watch
    again: tuple[str, ...] = HubDoor.again


class _WebTable(_Strict):
    listen: str = "127.0.0.1:8443"
    tls: _TlsTable | None = None
    bearer: tuple[_BearerTable, ...] = ()
    hub: _HubTable | None = None


class _HoursTable(_Strict):
    first: _Clock
    last: _Clock
    weekend: bool = False


class _PlanTable(_Strict):
    ae: Annotated[str, Field(min_length=1, max_length=16)] = "AILAB"
    listen: str = "127.0.0.1:11112"
    tls: _TlsTable | None = None
    web: _WebTable | None = None
    hours: _HoursTable | None = None
    context: _ContextTable | None = None
    caller: tuple[_CallerTable, ...] = ()
    destination: tuple[_DestinationTable, ...] = ()
    rule: tuple[_RuleTable, ...] = ()


def read_plan(path: Path) -> Plan:
    """Read ``adapter.toml``.

    Raises
    ------
    SettingsError
        It is not there or holds a mistake; the message names the place.
    """
    try:
        table = _PlanTable(**tomllib.loads(path.read_text(encoding="utf8")))
    except OSError as error:
        msg = f"{path.name} cannot be read ({error.strerror}); write one beside ailab.toml: docs/adapter.md shows how"
        raise SettingsError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path.name} is no valid TOML: {error}"
        raise SettingsError(msg) from None
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise SettingsError(msg) from None
    known = tuple(Caller(one.ae, _network(path, one.address), one.store, one.reply) for one in table.caller)
    destinations = tuple(Destination(one.name, one.url) for one in table.destination)
    rules = tuple(_rule(path, one) for one in table.rule)
    _check(path, [one.name for one in destinations], rules)
    blind = next((one.name for one in rules if one.hold_when and table.context is None), None)
    if blind:
        msg = f"{path.name}: rule {blind} has hold_when; name in [context] whom to ask, and who permitted it"
        raise SettingsError(msg)
    return Plan(_place(path, "listen", table.listen), Callers(table.ae, known), destinations, rules,
                tls=_tls("tls", table.tls), web=_web(path, table.web), hours=_hours(table.hours),
                context=_context(table.context))  # fmt: skip


def _context(table: _ContextTable | None) -> FhirServer | None:
    return FhirServer(table.fhir, table.patient_system, table.token, table.ca) if table else None


def _hours(table: _HoursTable | None) -> Hours | None:
    if table is None:
        return None
    return Hours(time.fromisoformat(table.first), time.fromisoformat(table.last), table.weekend)


def _tls(where: str, table: _TlsTable | None) -> Tls | None:
    return Tls(where, **table.model_dump()) if table else None


def _web(path: Path, table: _WebTable | None) -> WebDoor | None:
    if table is None:
        return None
    bearers = tuple(Bearer(one.name, one.token, frozenset(one.may)) for one in table.bearer)
    door = WebDoor(*_place(path, "web.listen", table.listen), bearers, _tls("web.tls", table.tls), _hub(table.hub))
    names = [one.name for one in bearers]
    try:
        check_secrecy(door)
    except SettingsError as error:
        msg = f"{path.name}: {error}"
        raise SettingsError(msg) from None
    if len(set(names)) < len(names):
        msg = f"{path.name}: two of web.bearer have the same name; give each its own"
        raise SettingsError(msg)
    return door


def _hub(table: _HubTable | None) -> HubDoor | None:
    return HubDoor(**table.model_dump() | {"api": table.api or f"{table.url}/hub/api"}) if table else None


_AS_TOLD = ("run", "choose", "priority", "parameters", "send", "minutes", "memory_gb", "hold_when")


def _rule(path: Path, table: _RuleTable) -> Rule:
    try:
        when = tuple(condition(keyword, wished) for keyword, wished in table.when.items())
        series = tuple(condition(keyword, wished) for keyword, wished in table.series.items())
    except SettingsError as error:
        msg = f"{path.name}: rule {table.name}: {error}"
        raise SettingsError(msg) from None
    rest = {name: getattr(table, name) for name in _AS_TOLD}
    return Rule(table.name, when, series, complete=Completeness(**table.complete.model_dump()), **rest)


def _check(path: Path, destinations: list[str], rules: tuple[Rule, ...]) -> None:
    names = [one.name for one in rules]
    twice = next((name for name in (*names, *destinations) if (names + destinations).count(name) > 1), None)
    unknown = next(((one.name, name) for one in rules for name in one.send if name not in destinations), None)
    if twice:
        msg = f"{path.name}: {twice} is the name of two things; give each its own"
        raise SettingsError(msg)
    if unknown:
        msg = f"{path.name}: rule {unknown[0]} sends to {unknown[1]!r}; there is no such [[destination]]"
        raise SettingsError(msg)


def _network(path: Path, address: str) -> str:
    from ipaddress import ip_network

    try:
        return str(ip_network(address, strict=False)) if address else ""
    except ValueError:
        msg = f"{path.name}: a caller's address {address!r} is none; write 10.1.2.3 or 10.1.0.0/16"
        raise SettingsError(msg) from None


def _place(path: Path, what: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        msg = f"{path.name}: {what} = {text!r} is no place; write listen = \"127.0.0.1:11112\""
        raise SettingsError(msg)
    return host.strip("[]"), int(port)
