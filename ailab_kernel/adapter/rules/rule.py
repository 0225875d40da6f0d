"""The adapter's plan as TOML: who may send, where results go, and the rules; a mistake is named with its place."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ailab_kernel.adapter.receive import Caller, Callers
from ailab_kernel.ground.errors import SettingsError

from .conditions import Condition, Wished, condition

FILE = "adapter.toml"
Priority = Literal["urgent", "normal", "off-peak"]
Choice = Literal["most-instances", "newest", "all"]
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
    """Where results go: an archive's URL."""

    name: str
    url: str


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


@dataclass(frozen=True)
class Plan:
    """Everything that ``adapter.toml`` says."""

    listen: tuple[str, int]
    callers: Callers
    destinations: tuple[Destination, ...]
    rules: tuple[Rule, ...]


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


class _PlanTable(_Strict):
    ae: Annotated[str, Field(min_length=1, max_length=16)] = "AILAB"
    listen: str = "127.0.0.1:11112"
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
    return Plan(_place(path, table.listen), Callers(table.ae, known), destinations, rules)


def _rule(path: Path, table: _RuleTable) -> Rule:
    try:
        when = tuple(condition(keyword, wished) for keyword, wished in table.when.items())
        series = tuple(condition(keyword, wished) for keyword, wished in table.series.items())
    except SettingsError as error:
        msg = f"{path.name}: rule {table.name}: {error}"
        raise SettingsError(msg) from None
    rest = {name: getattr(table, name) for name in ("run", "choose", "priority", "parameters", "send", "minutes")}
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


def _place(path: Path, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        msg = f"{path.name}: listen = {text!r} is no place; write listen = \"127.0.0.1:11112\""
        raise SettingsError(msg)
    return host.strip("[]"), int(port)
