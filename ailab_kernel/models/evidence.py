"""What speaks for a model: a sealed report, known here only by its id, digest and signature.

Models need not know what a validation is: they check that the seal is this lab's and that the report is about them.
"""

from dataclasses import dataclass
from typing import Protocol

from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import ModelError, SealBroken


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
    models
        Digests of the models that the manifest says were examined.
    """

    id: str
    manifest: bytes
    signature: str
    models: tuple[str, ...]


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
        It is about other models.
    """
    if not catalog.verify(evidence.manifest, evidence.signature):
        msg = f"report {evidence.id} does not bear this lab's seal: it was edited, or made elsewhere; run it again"
        raise SealBroken(msg)
    if model not in evidence.models:
        msg = f"report {evidence.id} says nothing about {ref}; validate this very version first"
        raise ModelError(msg)
