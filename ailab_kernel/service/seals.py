"""What the lab's key seals, and what a sealed report must be before a model's alias moves for it.

A kernel runs any code: it may ask for a seal on figures of its own making. So the key signs manifests of reports only,
each with its line in the trail, and an alias moves only for a report that the product's own template made, about the
very model, whose files are whole, on the dataset and by the criteria in force, whose bounds pass when they are held
against those criteria here. That the figures are true is shown by a replay, not by the seal.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import ModelError, WrongUse
from ailab_kernel.models import Models
from ailab_kernel.models.acceptance import REVOKED, earlier
from ailab_kernel.models.bundle import KIND as MODEL
from ailab_kernel.models.evidence import check_accepted, check_approved, check_evidence, kept_evidence, kept_record
from ailab_kernel.reports.library import template

from .bodies import Digest, Kind, misfit

_ReportId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*-[0-9a-f]{8}$", max_length=80)]


class Manifest(BaseModel):
    """What every report's manifest says; whatever else it says is sealed with it."""

    model_config = ConfigDict(strict=True)
    id: _ReportId
    template: Kind
    template_digest: Digest
    state: Literal["done"]
    resolved: dict[str, str]
    files: dict[str, Digest]


class _Model(BaseModel):
    name: str
    version: int
    digest: Digest


class OwnWords(BaseModel):
    """What the lab says of its own models: `models.sharing`'s index, or the list of an evidence pack."""

    model_config = ConfigDict(strict=True)
    kind: Literal["ailab-model-index", "ailab-evidence-pack"]
    models: list[_Model]


def manifest(data: bytes) -> dict[str, Any]:
    """Return a report's manifest; WrongUse where the bytes are none."""
    try:
        told = json.loads(data)
        Manifest.model_validate(told)
    except ValidationError as error:
        msg = f"only the manifest of a finished report is sealed here: {misfit(error.errors())}"
        raise WrongUse(msg) from None
    except (ValueError, RecursionError) as error:
        msg = f"only the manifest of a finished report is sealed here, and this is no JSON ({type(error).__name__})"
        raise WrongUse(msg) from None
    return told


def sealable(catalog: Catalog, data: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the key may sign, and what the trail says of it; WrongUse for everything else.

    Beside a report's manifest it is what the lab says of its own models to others: an index for a shelf, or the list of
    an evidence pack. Each of its models must be the ledger's.
    """
    try:
        told = json.loads(data)
        said = OwnWords.model_validate(told)
    except (ValueError, RecursionError):
        sealed = manifest(data)
        return sealed, {key: str(sealed[key]) for key in ("id", "template")}
    for one in said.models:
        found = catalog.query(MODEL, digest=one.digest)
        if not found or (found[0].name, found[0].version) != (one.name, one.version):
            msg = f"{one.name}@{one.version} is no model of this lab by that digest; only its own are vouched for"
            raise WrongUse(msg)
    return told, {"id": ",".join(f"{one.name}@{one.version}" for one in said.models), "template": said.kind}


def must_speak(catalog: Catalog, evidence: str, *, model: str, alias: str) -> None:
    """Raise unless the evidence is a sealed validation of the model that lets the alias mean it.

    Parameters
    ----------
    evidence
        Digest of the record that holds it; empty is none.
    model
        Digest of the model's record.
    alias
        What is to mean it.

    Raises
    ------
    NotFound, SealBroken, ModelError
        No evidence; edited; about another model or dataset, by another template, judged by other criteria than those in
        force, not passed; an approval is missing; or the model's files changed.
    """
    shown = kept_evidence(catalog, evidence)
    bundle = Models(catalog).find(model)
    check_evidence(catalog, shown, model=model, ref=bundle.ref)
    if shown.told.get("template_digest") != template(str(shown.told["template"])).digest:
        msg = f"report {shown.id} was made by another template than this lab's own; run: ailab validate {bundle.ref}"
        raise ModelError(msg)
    bundle.check()
    check_accepted(catalog, shown, bundle=bundle, alias=alias)
    check_approved(catalog, shown, kept_record(catalog, evidence), bundle=bundle, alias=alias)


def may_revoke(catalog: Catalog, name: str, alias: str, *, digest: str, reason: str) -> None:
    """Raise unless a move without evidence is a revocation: to nothing, or back to what the alias meant before.

    Raises
    ------
    WrongUse
        No reason, or a model that the alias never meant, or was taken from.
    """
    catalog.resolve(MODEL, name, alias)
    if not reason.removeprefix(REVOKED).strip() or digest not in {"", earlier(catalog.history(MODEL, name), alias)}:
        msg = f"{name}@{alias} is revoked with a reason, to nothing or to what it meant before: ailab models revoke"
        raise WrongUse(msg)
