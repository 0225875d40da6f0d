"""The catalog that the service holds: written in the name of whoever asks, and a sandbox for every student."""

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ailab_kernel.annotation.reading import STEP, pseudonym
from ailab_kernel.ground.audit import Anchor
from ailab_kernel.ground.catalog import Record, record_digest
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.sql_catalog import SqlCatalog

from . import blind
from .identity import Caller

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

ITSELF = "ailab-service"


class Ledger(SqlCatalog):
    """A catalog whose records, alias moves and audit lines carry the name of an authenticated user."""

    roles_enforced = True
    _trail: "Ledger | None" = None             # where audit lines go; None: here
    _one_step = threading.Lock()

    def audited_in(self, trail: "Ledger") -> "Ledger":
        """Return this catalog with its audit lines in another one's trail."""
        mine = copy.copy(self)
        mine._trail = trail
        return mine

    def holds(self, digest: str) -> bool:
        """Whether the object is in the store (its bytes unchecked)."""
        try:
            self.path(digest)
        except NotFound:
            return False
        return True

    def query(
        self, kind: str, *, name: str | None = None, version: int | None = None, digest: str | None = None
    ) -> list[Record]:
        """Return the matching records that this user may see, oldest first."""
        found = super().query(kind, name=name, version=version, digest=digest)
        hidden = any(blind.FIELD in one.body for one in found)
        return blind.shown(found, self._person, written=super().query(kind, name=name)) if hidden else found

    def append(self, kind: str, body: Mapping[str, Any], *, name: str = "", parents: Sequence[str] = ()) -> Record:
        """Write a record and return it; a blind reading is its reader's own, and a task's step keeps its rules."""
        blind.check(body, self._person)
        if kind != STEP:
            return super().append(kind, body, name=name, parents=parents)
        new = Record(kind, name, 0, record_digest(kind, name, body, parents=parents), body, tuple(parents),
                     made_by=self._user)  # fmt: skip
        with self._one_step:                   # between the look at the case and the step nobody else makes one
            if not super().query(kind, digest=new.digest):      # else it is sent again, and stands
                blind.check_step(new, super().query, writer=self._person)
            return super().append(kind, body, name=name, parents=parents)

    @property
    def _person(self) -> str:
        """Pseudonym of the authenticated user, as a reader."""
        return pseudonym(self, self._user)

    def _audit(self, db: sa.Connection, event: str, detail: Mapping[str, str]) -> Anchor | None:
        if self._trail is None:
            return super()._audit(db, event, detail)
        self._trail.by(self._user).audit(event, **detail)
        return None


class Realms:
    """Whose catalog a caller works in: the lab's, or for a student a sandbox with its own ledger, objects and keys.

    Only the audit trail is shared: whatever a student does stands in the lab's.
    """

    def __init__(self, workspace: "Workspace", *, bases: bool = True) -> None:
        self._workspace = workspace
        self._bases = bases
        self._lock = threading.Lock()
        self._sandboxes: dict[str, Ledger] = {}
        self.lab = self._filled(Ledger(**workspace.trusted_parts()).by(ITSELF))

    def of(self, caller: Caller) -> Ledger:
        """Return the catalog that the caller works in, written in their name."""
        return (self._sandbox(caller.user) if caller.sandboxed else self.lab).by(caller.user)

    def _sandbox(self, user: str) -> Ledger:
        """A name is any text, so that the folder is called by its digest."""
        with self._lock:
            if user not in self._sandboxes:
                home = self._workspace.home / "students" / sha256(user.encode())[:32]
                own = self._workspace.within(home)
                self._sandboxes[user] = self._filled(Ledger(**own.trusted_parts()).by(ITSELF).audited_in(self.lab))
            return self._sandboxes[user]

    def _filled(self, ledger: Ledger) -> Ledger:
        """With the product's base models, so that no user needs the right to move ``@general``."""
        if self._bases:
            from ailab_kernel.models.registry import GENERAL, Models, base_names

            for name in base_names():
                Models(ledger).get(f"{name}@{GENERAL}")
        return ledger
