"""The narrow protocol behind which everything trusted lives: objects, records, aliases, keys, pseudonyms, audit.

In a one-user pilot it runs in the notebook's own process (`sql_catalog`) and enforces no roles; behind the hub the
same protocol is served by the trusted process. Nothing above `workspace` can tell the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .identifiers import Sighting
from .ids import canonical_json, sha256
from .store import ObjectStore

RELEASED = "exit-released"                     # audit events that only their own verbs write
ACCEPTED = "trail-accepted"
REIDENTIFIED = "reidentified"
UNKNOWN = "reidentify-unknown"
PATIENT = "patient"                            # the domain of pseudonyms whose way back is kept


@dataclass(frozen=True)
class Record:
    """One entry of the ledger, never changed.

    Attributes
    ----------
    kind, name, version
        What it is (``dataset``, ``model``, ``report``), what people call it, and its number under that name.
    digest
        SHA-256 of kind, name, body and parents: equal content, equal record.
    body
        The record itself, plain JSON values.
    parents
        Digests of the records that this one was made from.
    made_at, made_by
        UTC time in ISO 8601, and the user's login.
    """

    kind: str
    name: str
    version: int
    digest: str
    body: Mapping[str, Any] = field(repr=False)
    parents: tuple[str, ...] = field(repr=False)
    made_at: str = ""
    made_by: str = ""
    seq: int = 0

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Move:
    """One step in an alias's history."""

    alias: str
    digest: str
    reason: str
    moved_at: str
    moved_by: str


def record_digest(kind: str, name: str, body: Mapping[str, Any], *, parents: Sequence[str]) -> str:
    """SHA-256 that names a record by its content."""
    return sha256(canonical_json({"kind": kind, "name": name, "body": body, "parents": sorted(parents)}))


class Catalog(ObjectStore, Protocol):
    """What rooms may ask of the trusted side. Kept small enough to be served over HTTP unchanged."""

    roles_enforced: bool

    def append(self, kind: str, body: Mapping[str, Any], *, name: str = "", parents: Sequence[str] = ()) -> Record:
        """Write a record and return it; one with the same content is returned as it stands."""

    def query(
        self, kind: str, *, name: str | None = None, version: int | None = None, digest: str | None = None
    ) -> list[Record]:
        """Return the matching records, oldest first."""

    def point(
        self, kind: str, name: str, alias: str, *, digest: str, reason: str = "", evidence: str = ""
    ) -> None:
        """Let ``name@alias`` mean the record ``digest`` (empty: nothing); the earlier meaning stays in the history.

        ``evidence`` is the digest of the record that speaks for the move; the trusted process moves no model's alias
        without.
        """

    def resolve(self, kind: str, name: str, alias: str) -> Record:
        """Return the record that ``name@alias`` means now, or raise NotFound."""

    def history(self, kind: str, name: str) -> list[Move]:
        """Return every move of every alias of ``name``, oldest first."""

    def sign(self, data: bytes) -> str:
        """Return the lab's Ed25519 signature of ``data``, hex."""

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether ``signature`` is this lab's own on ``data``."""

    def public_key(self) -> str:
        """Return the public part of the lab's signing key, hex: with it others verify what the lab signed."""

    def pseudonym(self, domain: str, value: str) -> str:
        """Return the lab's stable, keyed stand-in for an identifying value (``domain``: ``patient`` ...)."""

    def reidentify(self, pseudonym: str, reason: str) -> str:
        """Return whom a patient's pseudonym stands for; behind the hub by role. Who asked, and why, is written down.

        Parameters
        ----------
        pseudonym
            16 hex digits, as PatientID (0010,0020) of a de-identified object has them.
        reason
            Why; it must not identify anybody itself.

        Returns
        -------
        str
            The patient's identifier; the Study Instance UID where a study named no patient.

        Raises
        ------
        WrongUse
            No pseudonym, no reason, or a reason that identifies.
        NotFound
            Nothing is kept for it.
        CatalogError
            The role does not allow it.
        """

    def remember(self, known: Mapping[str, Sequence[str]]) -> None:
        """Let texts be searched for identifying values, given by DICOM keyword; no verb gives them back."""

    def found(self, texts: Sequence[str]) -> list[Sighting]:
        """Return where known identifiers stand in texts: place and kind, never the value."""

    def release(self, places: Sequence[str], reason: str) -> None:
        """Write down that known identifiers are let out, where they stand and why; behind the hub by role."""

    def audit(self, event: str, **detail: str) -> None:
        """Add one line to the hash-chained audit trail; details are UIDs and pseudonyms, never names."""
