"""What speaks for a model: a sealed report, known here only by its id, digest and signature.

Models need not know what a validation is: they check that the seal is this lab's and that the report is about them.
The evidence is a record of its own, so that the trusted process reads it from its ledger when an alias is to move.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import ModelError, NotFound, SealBroken

KIND = "evidence"
_TEMPLATE = "validate"  # the one report that speaks for a model


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
    """

    id: str
    manifest: bytes
    signature: str

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """What the manifest says; empty where it is no manifest."""
        try:
            found = json.loads(self.manifest)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def model(self) -> str:
        """Digest of the model that was validated; empty where the report is no finished validation."""
        resolved = self.told.get("resolved")
        done = self.told.get("template") == _TEMPLATE and self.told.get("state") == "done"
        return str(resolved.get("model", "")) if done and isinstance(resolved, dict) else ""


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


def keep_evidence(catalog: Catalog, evidence: Evidence) -> Record:
    """Write evidence into the ledger, made from the model that it is about."""
    body = {"report": evidence.id, "manifest": catalog.put(evidence.manifest), "signature": evidence.signature}
    return catalog.append(KIND, body, name=evidence.id, parents=(evidence.model,) if evidence.model else ())


def kept_evidence(catalog: Catalog, digest: str) -> Evidence:
    """Return the evidence that a record holds, unchecked.

    Raises
    ------
    NotFound
        No such record, or its manifest is missing.
    """
    found = catalog.query(KIND, digest=digest) if digest else []
    if not found:
        msg = "no sealed validation report was named; run: ailab models promote REF ALIAS --evidence REPORT"
        raise NotFound(msg)
    report, manifest, signature = (str(found[0].body.get(key, "")) for key in ("report", "manifest", "signature"))
    return Evidence(report, catalog.get(manifest), signature)
