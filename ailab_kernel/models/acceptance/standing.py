"""Which criteria are in force for an alias, who approved, what was revoked: read from the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ailab_kernel.ground.catalog import Catalog, Move, Record
from ailab_kernel.ground.errors import ModelError
from ailab_kernel.ground.ids import check_name, sha256

from .criteria import Criteria, parse

KIND, APPROVAL = "criteria", "approval"
REVOKED = "revoked: "                          # how the reason of such a move begins
_DEFAULTS = Path(__file__).parent / "defaults"
_ANY = "any"


@dataclass(frozen=True)
class Standing:
    """Criteria in force.

    Attributes
    ----------
    criteria
        What is asked.
    origin
        Where they come from: who declared them and when, or that they come with AI-LAB.
    """

    criteria: Criteria
    origin: str


def declare(catalog: Catalog, name: str, text: str) -> Record:
    """Write criteria for the models of a name into the ledger; the newest that cover an alias are in force.

    Parameters
    ----------
    catalog
        Behind the hub it takes them from administrators only.
    name
        The models' name, ``heart-wall``.
    text
        TOML, see `criteria`.

    Raises
    ------
    WrongUse
        They cannot be read.
    """
    criteria = parse(text)
    catalog.put(text.encode())
    known = catalog.query(KIND, name=check_name(name))
    if known and known[-1].body.get("toml") == text:
        return known[-1]
    # Criteria that came before, declared again, are a new entry: it says which it follows.
    body = {"toml": text, "sha256": criteria.digest, "after": known[-1].digest if known else ""}
    return catalog.append(KIND, body, name=name)


def in_force(catalog: Catalog, name: str, *, alias: str, recipe: str) -> Standing:
    """Return the criteria that a model of this name must meet for an alias.

    Without any of the lab's own they are those that come with AI-LAB for the recipe.
    """
    for record in reversed(catalog.query(KIND, name=name)):
        criteria = parse(str(record.body.get("toml", "")))
        if criteria.covers(alias):
            return Standing(criteria, f"criteria {record.ref} of {record.made_by}, {record.made_at[:10]}")
    given = _DEFAULTS / f"{recipe}.toml"
    path = given if check_name(recipe) and given.is_file() else _DEFAULTS / f"{_ANY}.toml"
    return Standing(parse(path.read_text(encoding="utf8")), "come with AI-LAB")


def approve(catalog: Catalog, model: Record, alias: str, *, report: str, manifest: bytes) -> Record:
    """Write down that whoever runs this approves of a model for an alias, on the strength of one report."""
    body = {"model": model.digest, "alias": check_name(alias), "report": report, "manifest": sha256(manifest)}
    return catalog.append(APPROVAL, {**body, "after": len(catalog.query(APPROVAL, name=model.name))}, name=model.name,
                          parents=(model.digest,))  # fmt: skip


def approvers(catalog: Catalog, name: str, alias: str, *, manifest: bytes) -> set[str]:
    """Return who approved, for this alias, of the model that this manifest speaks for."""
    return {one.made_by for one in catalog.query(APPROVAL, name=name)
            if one.body.get("alias") == alias and one.body.get("manifest") == sha256(manifest)}  # fmt: skip


def revoked(moves: Sequence[Move], alias: str) -> Mapping[str, str]:
    """Return the digests that an alias was taken from, and why."""
    mine = [move for move in moves if move.alias == alias]
    return {before.digest: after.reason.removeprefix(REVOKED) for before, after in pairwise(mine)
            if after.reason.startswith(REVOKED) and before.digest != after.digest}  # fmt: skip


def earlier(moves: Sequence[Move], alias: str) -> str:
    """Return what an alias meant before it meant what it means now, of what was not revoked; empty for nothing."""
    mine = [move.digest for move in moves if move.alias == alias]
    gone = {*revoked(moves, alias), *mine[-1:], ""}
    return next((digest for digest in reversed(mine) if digest not in gone), "")


def check_met(criteria: Criteria, told: Any, *, report: str, first: bool) -> None:
    """Raise ModelError unless a report's gate was passed: its verdicts are held against the criteria once more.

    Parameters
    ----------
    criteria
        Those in force.
    told
        ``gate`` of the report's metrics.
    report
        Its id, for the message.
    first
        Whether there is no champion to compare with yet.
    """
    verdicts = told.get("verdicts", []) if isinstance(told, dict) else []
    if not verdicts or told.get("criteria") != criteria.digest:
        judged = f"{str(told.get('criteria'))[:12]}" if verdicts else "none"
        msg = (f"report {report} was not judged by the criteria in force ({criteria.digest[:12]}) but by {judged}; "
               "validate again")  # fmt: skip
        raise ModelError(msg)
    for one in verdicts:
        if one.get("verdict") != "pass" or not _holds(criteria, one, first=first):
            told_why = one.get("reason") or one.get("verdict")
            msg = f"report {report} did not pass its gate: {one.get('asked')}: {told_why}"
            raise ModelError(msg)
    missing = {*range(len(criteria.criteria) + 1)} - {one.get("number") for one in verdicts}
    if missing:
        msg = f"report {report} says nothing about criterion {min(missing)} of those in force; validate again"
        raise ModelError(msg)


def _holds(criteria: Criteria, verdict: Mapping[str, Any], *, first: bool) -> bool:
    """Whether the figures of a verdict bear it out."""
    number, bound = verdict.get("number"), verdict.get("bound")
    if not isinstance(number, int) or not 0 <= number <= len(criteria.criteria):
        return False
    if number == 0:
        return isinstance(bound, int | float) and bound <= criteria.failures
    asked = criteria.criteria[number - 1]
    if bound is None:
        return first and asked.than == "champion"
    return isinstance(bound, int | float) and asked.met(bound) and verdict.get("patients", 0) >= asked.patients
