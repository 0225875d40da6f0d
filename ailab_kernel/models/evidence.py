"""What speaks for a model: a sealed report, known here only by its id, digest, signature and figures.

Models need not know how a validation is made: they check that the seal is this lab's, that the report is about them,
and that its gate was passed by the criteria in force. The evidence is a record of its own, so that the trusted process
reads it from its ledger when an alias is to move.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import ModelError, NotFound, SealBroken
from ailab_kernel.ground.ids import Ref, sha256

from .acceptance import Criteria, approvers, check_met, in_force, revoked
from .bundle import KIND as MODEL
from .bundle import Bundle

KIND = "evidence"
METRICS = "metrics.json"
_TEMPLATE = "validate"                         # the one report that speaks for a model


@dataclass(frozen=True)
class Evidence:
    """A sealed report about models.

    Attributes
    ----------
    id
        The report's id.
    manifest
        Bytes of its manifest, which names by digest what it was made from.
    signature
        The lab's Ed25519 signature of the manifest, hex.
    metrics
        Bytes of its figures; the manifest has their digest.
    """

    id: str
    manifest: bytes
    signature: str
    metrics: bytes = b""

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """What the manifest says; empty where it is no manifest."""
        return _json(self.manifest)

    @property
    def model(self) -> str:
        """Digest of the model that was validated; empty where the report is no finished validation."""
        done = self.told.get("template") == _TEMPLATE and self.told.get("state") == "done"
        return self._resolved("model") if done else ""

    @property
    def dataset(self) -> str:
        """Digest of the dataset version that it was validated on."""
        return self._resolved("dataset")

    @property
    def baseline(self) -> str:
        """Digest of the model that it was compared with; empty for none."""
        return self._resolved("baseline")

    @property
    def gate(self) -> Any:
        """What its figures say of its gate; None where the figures are not the sealed ones, or know of none."""
        files = self.told.get("files")
        sealed = files.get(METRICS) if isinstance(files, dict) else None
        return _json(self.metrics).get("gate") if sealed and sha256(self.metrics) == sealed else None

    def _resolved(self, role: str) -> str:
        resolved = self.told.get("resolved")
        return str(resolved.get(role, "")) if isinstance(resolved, dict) else ""


class HasEvidence(Protocol):
    """Anything that can show evidence, such as a report."""

    def evidence(self) -> Evidence:
        """Return the evidence."""


def check_evidence(catalog: Catalog, evidence: Evidence, *, model: str, ref: str) -> None:
    """Raise unless the evidence bears this lab's seal and is about the model.

    Raises
    ------
    SealBroken
        The manifest was edited or sealed by another lab.
    ModelError
        It is about another model, or no finished validation.
    """
    if not catalog.verify(evidence.manifest, evidence.signature):
        msg = f"report {evidence.id} does not bear this lab's seal: it was edited, or made elsewhere; run it again"
        raise SealBroken(msg)
    if evidence.model != model:
        msg = f"report {evidence.id} says nothing about {ref}; validate this very version first"
        raise ModelError(msg)


def check_accepted(catalog: Catalog, evidence: Evidence, *, bundle: Bundle, alias: str) -> None:
    """Raise unless sealed evidence about a model lets an alias mean it: by the criteria in force, on their dataset.

    Raises
    ------
    ModelError
        Another dataset, other criteria, a gate that was not passed, another champion since, or revoked after this
        very report.
    """
    criteria = in_force(catalog, bundle.name, alias=alias, recipe=bundle.recipe).criteria
    moves = catalog.history(MODEL, bundle.name)
    _check_dataset(catalog, evidence, criteria)
    champion = next((move.digest for move in reversed(moves) if move.alias == "champion"), "")
    rival = champion if champion != bundle.digest else ""
    check_met(criteria, evidence.gate, report=evidence.id, first=not rival)
    if criteria.asks_of("champion") and rival and evidence.baseline != rival:
        msg = f"report {evidence.id} compares with another model than the champion of today; validate again"
        raise ModelError(msg)
    used = any(move.digest == bundle.digest and move.alias == alias and move.reason == reason_of(evidence)
               for move in moves)  # fmt: skip
    if used and bundle.digest in (why := revoked(moves, alias)):
        msg = f"{bundle.ref} was revoked as {alias} after report {evidence.id} ({why[bundle.digest]}); validate it anew"
        raise ModelError(msg)


def check_approved(catalog: Catalog, evidence: Evidence, kept: Record, *, bundle: Bundle, alias: str) -> None:
    """Raise ModelError unless as many other people as the criteria ask for approved.

    Parameters
    ----------
    catalog, evidence, bundle, alias
        What is to mean what, and why.
    kept
        The evidence's record: who wrote it wants the alias to move, and does not count.
    """
    asked = in_force(catalog, bundle.name, alias=alias, recipe=bundle.recipe).criteria.approvals
    found = approvers(catalog, bundle.name, alias, manifest=evidence.manifest) - {kept.made_by}
    if len(found) < asked:
        msg = (f"{bundle.ref} needs {asked - len(found)} more approval by somebody else than {kept.made_by}: "
               f"ailab models approve {bundle.ref} {alias} --evidence {evidence.id}")  # fmt: skip
        raise ModelError(msg)


def _check_dataset(catalog: Catalog, evidence: Evidence, criteria: Criteria) -> None:
    found = catalog.query("dataset", digest=evidence.dataset) if evidence.dataset else []
    if not found:
        msg = f"report {evidence.id} is on no dataset of this lab; validate on one that is frozen here"
        raise ModelError(msg)
    if criteria.dataset:
        wished = Ref.parse(criteria.dataset)
        if found[0].name != wished.name or wished.version not in {None, found[0].version}:
            msg = f"report {evidence.id} is on dataset {found[0].ref}; the criteria in force ask for {criteria.dataset}"
            raise ModelError(msg)


def reason_of(evidence: Evidence) -> str:
    """Return what the history says of a move for this evidence."""
    return f"report {evidence.id}"


def keep_evidence(catalog: Catalog, evidence: Evidence) -> Record:
    """Write evidence into the ledger, made from the model that it is about."""
    body = {"report": evidence.id, "manifest": catalog.put(evidence.manifest), "signature": evidence.signature,
            "metrics": catalog.put(evidence.metrics)}  # fmt: skip
    return catalog.append(KIND, body, name=evidence.id, parents=(evidence.model,) if evidence.model else ())


def kept_record(catalog: Catalog, digest: str) -> Record:
    """Return the record that holds evidence; NotFound where there is none."""
    found = catalog.query(KIND, digest=digest) if digest else []
    if not found:
        msg = "no sealed validation report was named; run: ailab models promote REF ALIAS --evidence REPORT"
        raise NotFound(msg)
    return found[0]


def kept_evidence(catalog: Catalog, digest: str) -> Evidence:
    """Return the evidence that a record holds, unchecked.

    Raises
    ------
    NotFound
        No such record, or its manifest is missing.
    """
    body = kept_record(catalog, digest).body
    report, manifest, signature, metrics = (str(body.get(key, "")) for key in
                                            ("report", "manifest", "signature", "metrics"))  # fmt: skip
    return Evidence(report, catalog.get(manifest), signature, catalog.get(metrics) if metrics else b"")


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
