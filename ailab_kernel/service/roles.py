"""Who may do what: roles are the hub's groups, acts are what routes do, and one table joins them.

A student works in a sandbox of their own (`ledger.Realms`): reading and keeping reach nothing of the lab's, and what
would speak for the lab (a signature, an alias, a pseudonym) or show patients (the archive) is refused.
"""

from collections.abc import Iterable
from enum import StrEnum


class Act(StrEnum):
    """What a route does; every route names exactly one."""

    READ = "read"                  # objects, records, aliases; is a signature ours
    KEEP = "keep"                  # objects, records and audit lines: added, never changed
    SIGN = "sign"
    POINT = "move-alias"
    CRITERIA = "set-criteria"      # what a model must show before an alias means it
    PSEUDONYM = "pseudonym"
    AUDIT = "read-audit"
    SEARCH = "archive-search"
    RETRIEVE = "archive-retrieve"
    STORE = "archive-store"
    DELETE = "archive-delete"
    RELEASE = "release-identifier"             # let out what holds a known identifier, with a reason
    REIDENTIFY = "reidentify"                  # find the patient behind a pseudonym, with a reason
    WITNESS = "witness"                        # say who logged in and out, as the hub alone knows


STUDENT = "student"
HUB = "hub"                                    # the hub itself: no group of that name gives its role
BY_HAND = frozenset({Act.REIDENTIFY})          # not with the token that a server's every cell holds, whoever runs it
_CLINICAL = frozenset({Act.READ, Act.KEEP, Act.SIGN, Act.PSEUDONYM, Act.SEARCH, Act.RETRIEVE, Act.STORE})
MAY: dict[str, frozenset[Act]] = {
    "admin": frozenset(Act) - {Act.WITNESS},
    "data-scientist": _CLINICAL | {Act.POINT},
    "radiologist": _CLINICAL,
    "auditor": frozenset({Act.READ, Act.AUDIT, Act.SEARCH, Act.RETRIEVE}),
    STUDENT: frozenset({Act.READ, Act.KEEP}),
}
_ALL = {**MAY, HUB: frozenset({Act.WITNESS})}


def roles_of(groups: Iterable[str], *, admin: bool = False) -> frozenset[str]:
    """Roles of someone in these groups of the hub; its administrators are ours.

    A student who has another role as well is no student here: a sandbox's rights never reach the lab's catalog.
    """
    found = frozenset(MAY).intersection(groups) | ({"admin"} if admin else frozenset())
    return found - {STUDENT} or found


def acts_of(roles: Iterable[str]) -> frozenset[Act]:
    """Everything that any of the roles may do."""
    return frozenset().union(*(_ALL[role] for role in roles))
