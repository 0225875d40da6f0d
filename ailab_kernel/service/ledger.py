"""The catalog that the service holds: written in the name of whoever asks, and a sandbox for every student."""

import copy
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ailab_kernel.ground.errors import NotFound
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.sql_catalog import SqlCatalog
from ailab_kernel.ground.tables import ALIASES, AUDIT

from .identity import Caller

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

ITSELF = "ailab-service"


class Ledger(SqlCatalog):
    """A catalog whose records, alias moves and audit lines carry the name of an authenticated user."""

    roles_enforced = True
    _user = ITSELF
    _trail: "Ledger | None" = None             # where audit lines go; None: here

    def by(self, user: str) -> "Ledger":
        """Return this catalog as it is written by ``user``."""
        mine = copy.copy(self)
        mine._user = user
        return mine

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

    def _append(self, db: sa.Connection, row: dict[str, Any]) -> None:  # type: ignore[override]
        super()._append(db, row | {"made_by": self._user})

    def point(self, kind: str, name: str, alias: str, *, digest: str, reason: str = "") -> None:
        """Let ``name@alias`` mean the record ``digest``; the move and its audit line are one transaction."""
        if not self.query(kind, name=name, digest=digest):
            msg = f"{kind} {name} has no record {digest[:12]} for @{alias} to mean"
            raise NotFound(msg)
        moved = {"kind": kind, "name": name, "alias": alias, "digest": digest}
        row = {**moved, "reason": reason, "moved_at": _now(), "moved_by": self._user}

        def _move(db: sa.Connection) -> None:
            db.execute(ALIASES.insert().values(**row))
            if self._trail is None:
                self._line(db, "alias-moved", moved)

        self._retried(_move)
        if self._trail is not None:
            self._trail.by(self._user).audit("alias-moved", **moved)

    def audit(self, event: str, **detail: str) -> None:
        """Add one line to the audit trail in the user's name: each line's hash covers the line before it."""
        trail = self._trail.by(self._user) if self._trail is not None else self
        trail._retried(lambda db: trail._line(db, event, detail))

    def _line(self, db: sa.Connection, event: str, detail: Mapping[str, str]) -> None:
        last = db.execute(sa.select(AUDIT.c.seq, AUDIT.c.chain).order_by(AUDIT.c.seq.desc()).limit(1)).first()
        seq, chain = (last.seq + 1, last.chain) if last else (1, "")
        row = {"seq": seq, "at": _now(), "by": self._user, "event": event, "detail": canonical_json(detail).decode()}
        db.execute(AUDIT.insert().values(**row, chain=sha256(canonical_json(row) + chain.encode())))


class Realms:
    """Whose catalog a caller works in: the lab's, or for a student a sandbox with its own ledger, objects and keys.

    Only the audit trail is shared: whatever a student does stands in the lab's.
    """

    def __init__(self, workspace: "Workspace", *, bases: bool = True) -> None:
        self._workspace = workspace
        self._bases = bases
        self._lock = threading.Lock()
        self._sandboxes: dict[str, Ledger] = {}
        self.lab = self._filled(Ledger(**workspace.trusted_parts()))

    def of(self, caller: Caller) -> Ledger:
        """Return the catalog that the caller works in, written in their name."""
        return (self._sandbox(caller.user) if caller.sandboxed else self.lab).by(caller.user)

    def _sandbox(self, user: str) -> Ledger:
        """A name is any text, so that the folder is called by its digest."""
        with self._lock:
            if user not in self._sandboxes:
                home = self._workspace.home / "students" / sha256(user.encode())[:32]
                own = self._workspace.within(home)
                self._sandboxes[user] = self._filled(Ledger(**own.trusted_parts()).audited_in(self.lab))
            return self._sandboxes[user]

    def _filled(self, ledger: Ledger) -> Ledger:
        """With the product's base models, so that no user needs the right to move ``@general``."""
        if self._bases:
            from ailab_kernel.models.registry import GENERAL, Models, base_names

            for name in base_names():
                Models(ledger).get(f"{name}@{GENERAL}")
        return ledger


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
