"""What the web's door works with, and who may do what at it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from fastapi import HTTPException, Request

from ailab_kernel.adapter.ledger import Work
from ailab_kernel.adapter.receive import Inbox, Refusals
from ailab_kernel.adapter.rules import Act, Bearer, Plan

from .hub import HubPeople

_SCHEMES = ("bearer", "token")                 # RFC 6750, and the word that JupyterHub's clients say


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes
    ----------
    silence_s
        Between two pieces of a body, seconds.
    instance_bytes
        Largest instance.
    """

    silence_s: float = 30.0
    instance_bytes: int = 8 << 30


@dataclass(frozen=True)
class Desk:
    """Everything that the door's routes need.

    Attributes
    ----------
    tokens
        Whose each token is.
    again
        Does once more what failed or is held.
    audit
        Takes a line of the trail.
    people
        The hub's, who need no token of ours; None: there is no hub.
    """

    inbox: Inbox
    plan: Plan
    tokens: Mapping[bytes, Bearer] = field(repr=False)
    refusals: Refusals
    again: Callable[[str], Work]
    audit: Callable[..., None]
    limits: Limits = field(default_factory=Limits)
    people: HubPeople | None = None

    def __post_init__(self) -> None:
        # By digest: how long a look-up takes then says nothing about the tokens.
        object.__setattr__(self, "_known", {sha256(token).digest(): one for token, one in self.tokens.items()})

    def bearer(self, header: str) -> Bearer | None:
        """Return whose token an Authorization header holds; None where it is nobody's."""
        scheme, _, token = header.partition(" ")
        known: Mapping[bytes, Bearer] = getattr(self, "_known")  # noqa: B009 - set in a frozen class
        return known.get(sha256(token.strip().encode()).digest()) if scheme.lower() in _SCHEMES else None


def may(act: Act) -> Callable[[Request], Bearer]:
    """Return a dependency that lets in whoever may do this, and turns away and notes everybody else."""

    def _check(request: Request) -> Bearer:
        desk: Desk = request.app.state.desk
        header = request.headers.get("authorization", "")
        found = desk.bearer(header) if header or desk.people is None else desk.people.bearer(request)
        address = request.client.host if request.client else ""
        if found is None:
            desk.refusals.note("web", address, why="no token that is known")
            raise HTTPException(401, "a token is expected: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        if act not in found.may:
            desk.refusals.note("web", address, why=f"{found.name} may not {act}")
            raise HTTPException(403, f"{found.name} may not {act}; adapter.toml says who may")
        return found

    return _check
