"""The catalog in this process: SQLAlchemy on SQLite (WAL, synchronous FULL) or PostgreSQL by URL."""

import copy
import fcntl
import getpass
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from .audit import Anchor, Anchors, findings
from .catalog import ACCEPTED, PATIENT, REIDENTIFIED, RELEASED, UNKNOWN, Move, Record, record_digest
from .database import open_engine
from .errors import CatalogError, NotFound, WrongUse
from .identifiers import Entry, Sighting, entries, sightings
from .ids import canonical_json, sha256
from .seal import Keys
from .store import ObjectStore
from .tables import ALIASES, AUDIT, IDENTIFIERS, PATIENTS, RECORDS

_HEAD = "0003"
_TRIES = 20
_AT_ONCE = 500                                 # values in one IN (...): SQLite takes 999

_PSEUDONYM = re.compile("[0-9a-f]{16}")

Done = TypeVar("Done")


class SqlCatalog:
    """The one-user implementation of `Catalog`: it holds the keys beside the data and enforces no roles."""

    roles_enforced = False

    def __init__(self, url: str, *, store: ObjectStore, keys: Keys, lock: Path) -> None:
        self._engine = open_engine(url)
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")  # readers never wait for a writer
        self._store = store
        self._keys = keys
        self._anchors = Anchors(lock.with_name("audit.anchor"), sign=keys.sign, verify=keys.verify)
        self._user = _who()
        with _held(lock):
            _bring_to_head(self._engine, url)

    def by(self, user: str) -> Self:
        """Return this catalog as it is written by ``user``."""
        mine = copy.copy(self)
        mine._user = user
        return mine

    # objects and keys: handed through
    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes, and return their SHA-256."""
        return self._store.put(data)

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their digest."""
        return self._store.get(digest)

    def path(self, digest: str) -> Path:
        """Return a local file that holds the bytes."""
        return self._store.path(digest)

    def check(self, digest: str) -> None:
        """Raise NotFound or SealBroken unless the stored bytes still match."""
        self._store.check(digest)

    def sign(self, data: bytes) -> str:
        """Return the lab's Ed25519 signature of ``data``, hex."""
        return self._keys.sign(data)

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether ``signature`` is this lab's own on ``data``."""
        return self._keys.verify(data, signature)

    def public_key(self) -> str:
        """Return the public part of the lab's signing key, hex."""
        return self._keys.public()

    def pseudonym(self, domain: str, value: str) -> str:
        """Return the lab's stable, keyed stand-in for an identifying value; a patient's way back is kept, encrypted."""
        made = self._keys.pseudonym(domain, value)
        if domain == PATIENT and not self._hidden(made):
            row = {"pseudonym": made, "hidden": self._keys.hide(value, name=made)}
            self._retried(lambda db: self._hidden(made, db) or db.execute(PATIENTS.insert().values(row)))
        return made

    def reidentify(self, pseudonym: str, reason: str) -> str:
        """Return whom a patient's pseudonym stands for; the line in the trail is written first."""
        if not _PSEUDONYM.fullmatch(pseudonym):
            msg = "that is no pseudonym: 16 digits of 0-9 and a-f are expected, as PatientID of a de-identified object"
            raise WrongUse(msg)
        hidden = self._hidden(pseudonym)
        known = self._keys.shown(hidden, name=pseudonym) if hidden else ""
        if not reason.strip() or (known and known in reason.split()) or self.found([reason]):
            msg = "a reason is needed that identifies nobody itself; it stands in the audit trail"
            raise WrongUse(msg)
        self.audit(REIDENTIFIED if hidden else UNKNOWN, pseudonym=pseudonym, reason=reason)
        if not hidden:
            msg = (f"nothing is kept for {pseudonym}: it is of another lab or of a key file, or older than this map; "
                   "then bring a study of the patient in again, or ask who holds the key")  # fmt: skip
            raise NotFound(msg)
        return known

    def _hidden(self, pseudonym: str, db: sa.Connection | None = None) -> str:
        asked = sa.select(PATIENTS.c.hidden).where(PATIENTS.c.pseudonym == pseudonym)
        if db is not None:
            return str(db.execute(asked).scalar() or "")
        with self._reader.connect() as reading:
            return str(reading.execute(asked).scalar() or "")

    # the ledger
    def append(self, kind: str, body: Mapping[str, Any], *, name: str = "", parents: Sequence[str] = ()) -> Record:
        """Write a record and return it; one with the same content is returned as it stands."""
        digest = record_digest(kind, name, body, parents=parents)
        row = {
            "kind": kind, "name": name, "digest": digest, "body": canonical_json(body).decode(),
            "parents": json.dumps(sorted(parents)), "made_at": _now(), "made_by": self._user,
        }  # fmt: skip
        self._retried(lambda db: self._append(db, row))
        return self.query(kind, digest=digest)[0]

    @staticmethod
    def _append(db: sa.Connection, row: dict[str, Any]) -> None:
        if db.execute(sa.select(RECORDS.c.seq).where(RECORDS.c.digest == row["digest"])).first():
            return
        same_name = (RECORDS.c.kind == row["kind"]) & (RECORDS.c.name == row["name"])
        newest = db.execute(sa.select(sa.func.max(RECORDS.c.version)).where(same_name)).scalar() or 0
        db.execute(RECORDS.insert().values(**row, version=newest + 1))

    def query(
        self, kind: str, *, name: str | None = None, version: int | None = None, digest: str | None = None
    ) -> list[Record]:
        """Return the matching records, oldest first."""
        wished = {"kind": kind, "name": name, "version": version, "digest": digest}
        match = [RECORDS.c[column] == value for column, value in wished.items() if value is not None]
        with self._reader.connect() as db:
            rows = db.execute(sa.select(RECORDS).where(*match).order_by(RECORDS.c.seq)).mappings().all()
        return [_record(dict(row)) for row in rows]

    def point(
        self, kind: str, name: str, alias: str, *, digest: str, reason: str = "", evidence: str = ""
    ) -> None:
        """Let ``name@alias`` mean the record ``digest``; the move and its audit line are one transaction."""
        if digest and not self.query(kind, name=name, digest=digest):
            msg = f"{kind} {name} has no record {digest[:12]} for @{alias} to mean"
            raise NotFound(msg)
        moved = {"kind": kind, "name": name, "alias": alias, "digest": digest}
        told = moved | ({"evidence": evidence} if evidence else {})
        row = {**moved, "reason": reason, "moved_at": _now(), "moved_by": self._user}

        def _move(db: sa.Connection) -> Anchor | None:
            db.execute(ALIASES.insert().values(**row))
            return self._audit(db, "alias-moved", told)

        self._anchors.keep(self._retried(_move), chain_at=self._chain_at)

    def resolve(self, kind: str, name: str, alias: str) -> Record:
        """Return the record that ``name@alias`` means now, or raise NotFound."""
        moves = [move for move in self.history(kind, name) if move.alias == alias]
        if not moves:
            known = sorted({move.alias for move in self.history(kind, name)})
            msg = f"{kind} {name} has no alias @{alias}; it has {', '.join(known) or 'none'}"
            raise NotFound(msg)
        if not moves[-1].digest:
            msg = f"{kind} {name}@{alias} means nothing since {moves[-1].moved_at[:10]} ({moves[-1].reason})"
            raise NotFound(msg)
        return self.query(kind, name=name, digest=moves[-1].digest)[0]

    def history(self, kind: str, name: str) -> list[Move]:
        """Return every move of every alias of ``name``, oldest first."""
        columns = [ALIASES.c[column] for column in ("alias", "digest", "reason", "moved_at", "moved_by")]
        match = (ALIASES.c.kind == kind) & (ALIASES.c.name == name)
        with self._reader.connect() as db:
            return [Move(*row) for row in db.execute(sa.select(*columns).where(match).order_by(ALIASES.c.seq))]

    def audit(self, event: str, **detail: str) -> None:
        """Add one line to the audit trail: each line's hash covers the line before it."""
        line = self._retried(lambda db: self._audit(db, event, detail))
        self._anchors.keep(line, chain_at=self._chain_at)

    def audit_trail(self) -> list[dict[str, str]]:
        """Return the audit trail, oldest first."""
        with self._reader.connect() as db:
            return [dict(row) for row in db.execute(sa.select(AUDIT).order_by(AUDIT.c.seq)).mappings()]

    def audit_findings(self) -> tuple[str, ...]:
        """Return what is wrong with the audit trail: lines edited, added, missing or cut off; empty when intact."""
        with self._anchors.held():             # a line whose anchor is just being written is no fault
            return findings(self.audit_trail(), self._anchors.newest())

    def accept_trail(self, reason: str) -> None:
        """Sign the trail as it stands: after its findings were looked into, or for a lab older than signatures."""
        self.audit(ACCEPTED, reason=reason, findings="; ".join(self.audit_findings()))
        with self._anchors.held():
            last = self.audit_trail()[-1]
            self._anchors.write(Anchor(int(last["seq"]), last["chain"]))

    def _chain_at(self, seq: int) -> str:
        with self._reader.connect() as db:
            return str(db.execute(sa.select(AUDIT.c.chain).where(AUDIT.c.seq == seq)).scalar() or "")

    def audit_anchor(self) -> dict[str, Any]:
        """Return the newest line's number and chain with the lab's signature; empty where there is none."""
        newest = self._anchors.newest()
        return {"seq": newest.seq, "chain": newest.chain, "signature": newest.signature} if newest else {}

    # known identifiers
    def remember(self, known: Mapping[str, Sequence[str]]) -> None:
        """Let texts be searched for identifying values, given by DICOM keyword; they are kept as keyed hashes."""
        made = {one.token: one for one in entries(known, hashed=self._keys.hashed)}
        new = set(made) - {one.token for one in self._known("token", sorted(made))}
        rows = [vars(made[token]) for token in sorted(new)]
        if rows:
            self._retried(lambda db: self._insert(db, rows))

    def found(self, texts: Sequence[str]) -> list[Sighting]:
        """Return where known identifiers stand in texts."""
        return sightings(texts, hashed=self._keys.hashed, known=lambda heads: self._known("head", heads))

    def release(self, places: Sequence[str], reason: str) -> None:
        """Write down that known identifiers are let out, where they stand and why."""
        self.audit(RELEASED, places="; ".join(places), reason=reason)

    def _known(self, column: str, values: Sequence[str]) -> list[Entry]:
        with self._reader.connect() as db:
            return [Entry(**row) for at in range(0, len(values), _AT_ONCE) for row in db.execute(sa.select(IDENTIFIERS)
                    .where(IDENTIFIERS.c[column].in_(values[at:at + _AT_ONCE]))).mappings()]  # fmt: skip

    @staticmethod
    def _insert(db: sa.Connection, rows: list[dict[str, Any]]) -> None:
        """Insert what another writer did not insert meanwhile."""
        tokens = [row["token"] for row in rows]
        there = {token for at in range(0, len(tokens), _AT_ONCE) for (token,) in db.execute(
            sa.select(IDENTIFIERS.c.token).where(IDENTIFIERS.c.token.in_(tokens[at:at + _AT_ONCE])))}  # fmt: skip
        missing = [row for row in rows if row["token"] not in there]
        if missing:
            db.execute(IDENTIFIERS.insert(), missing)

    def _audit(self, db: sa.Connection, event: str, detail: Mapping[str, str]) -> Anchor | None:
        """Write a line; what is returned is to be anchored once it is committed."""
        last = db.execute(sa.select(AUDIT.c.seq, AUDIT.c.chain).order_by(AUDIT.c.seq.desc()).limit(1)).first()
        seq, chain = (last.seq + 1, last.chain) if last else (1, "")
        row = {"seq": seq, "at": _now(), "by": self._user, "event": event, "detail": canonical_json(detail).decode()}
        before, chain = chain, sha256(canonical_json(row) + chain.encode())
        db.execute(AUDIT.insert().values(**row, chain=chain))
        return Anchor(seq, chain, before=before)

    def _retried(self, act: Callable[[sa.Connection], Done]) -> Done:
        """Run ``act`` in a transaction; two writers that meet on a number try again."""
        for _ in range(_TRIES):
            try:
                with self._engine.begin() as db:
                    done = act(db)
            except IntegrityError:
                continue
            except DBAPIError as error:
                msg = f"the catalog did not take the record: {type(error.orig).__name__}; check disk space and rights"
                raise CatalogError(msg) from error
            return done
        msg = f"the catalog is too busy: {_TRIES} tries met other writers; try again"
        raise CatalogError(msg)


def _record(row: Mapping[str, Any]) -> Record:
    body, parents = json.loads(row["body"]), tuple(json.loads(row["parents"]))
    return Record(**{**row, "body": body, "parents": parents})


def _bring_to_head(engine: sa.Engine, url: str) -> None:
    try:
        with engine.begin() as db:
            if _revision(db) == _HEAD:
                return
            from alembic import command
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = db
            command.upgrade(config, "head")
    except DBAPIError as error:
        kind = url.partition(":")[0]
        msg = f"the catalog ({kind}) cannot be opened: {type(error.orig).__name__}; check the address, rights and space"
        raise CatalogError(msg) from error


def _revision(db: sa.Connection) -> str | None:
    if not sa.inspect(db).has_table("alembic_version"):
        return None
    return db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """One process at a time brings the database to its newest form."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
