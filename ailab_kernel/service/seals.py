"""What the lab's key seals, and what a sealed report must be before a model's alias moves for it.

A kernel runs any code: it may ask for a seal on figures of its own making. So the key signs manifests of reports only,
each with its line in the trail, and an alias moves only for a report that the product's own template made, about the
very model, whose files are whole. That the figures are true is shown by a replay, not by the seal.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import ModelError, WrongUse
from ailab_kernel.models import Models
from ailab_kernel.models.evidence import check_evidence, kept_evidence
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


def must_speak(catalog: Catalog, evidence: str, *, model: str) -> None:
    """Raise unless the evidence is a sealed validation of the model, made by the product's own template.

    Parameters
    ----------
    evidence
        Digest of the record that holds it; empty is none.
    model
        Digest of the model's record.

    Raises
    ------
    NotFound, SealBroken, ModelError
        No evidence; edited; about another model, by another template, or the model's files changed.
    """
    shown = kept_evidence(catalog, evidence)
    bundle = Models(catalog).find(model)
    check_evidence(catalog, shown, model=model, ref=bundle.ref)
    if shown.told.get("template_digest") != template(str(shown.told["template"])).digest:
        msg = f"report {shown.id} was made by another template than this lab's own; run: ailab validate {bundle.ref}"
        raise ModelError(msg)
    bundle.check()
