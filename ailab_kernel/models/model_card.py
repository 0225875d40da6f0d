"""The whole card of a model: MONAI's metadata and the fields of CHAI's Applied Model Card, v0.2, in one value.

What nobody has said is shown as not stated. A developer states CHAI's fields in the bundle's metadata under ``chai``,
by the schema's names: ``{"ClinicalRiskLevel": "..."}``; what a validation measured is given by its report.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .bundle import Bundle
from .card import NOTE

STATED_IN = "chai"
# MONAI's metadata schema of 2024-07-25 (meta_schema_20240725.json), in its order.
MONAI = ("name", "version", "task", "description", "authors", "copyright", "intended_use", "data_source", "data_type",
         "image_classes", "label_classes", "pred_classes", "eval_metrics", "references", "network_data_format",
         "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "optional_packages_version",
         "changelog")  # fmt: skip
# Section of CHAI's card, field of its schema, title, and the keys of our metadata that say it.
CHAI: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("About", "ModelName", "Name", ("name",)),
    ("About", "ModelDeveloper", "Developer", ("authors",)),
    ("About", "DeveloperContact", "Contact", ()),
    ("Release", "ReleaseStage", "Stage", ()),
    ("Release", "ReleaseDate", "Date", ()),
    ("Release", "ReleaseVersion", "Version", ("ref",)),
    ("Release", "GlobalAvailability", "Availability", ()),
    ("Release", "EHRCompatibility", "Works with which records systems", ()),
    ("Release", "RegulatoryApproval", "Regulatory approval", ()),
    ("Summary", "Summary", "Summary", ("description",)),
    ("Summary", "Keywords", "Keywords", ("task",)),
    ("Uses and directions", "IntendedUseAndWorkflow", "Intended use and workflow", ("intended_use",)),
    ("Uses and directions", "PrimaryIntendedUsers", "Users", ()),
    ("Uses and directions", "HowToUse", "How to use", ()),
    ("Uses and directions", "TargetedPatientPopulation", "Patients", ()),
    ("Uses and directions", "CautionedOutOfScopeSettings", "Not for", ()),
    ("Warnings", "KnownRisksAndLimitations", "Risks and limits", ("limits", "unchecked")),
    ("Warnings", "KnownBiasesOrEthicalConsiderations", "Biases, ethics", ()),
    ("Warnings", "ClinicalRiskLevel", "Clinical risk", ()),
    ("Trust: the system", "OutcomesAndOutputs", "Outputs", ("outputs", "pred_classes")),
    ("Trust: the system", "ModelType", "Kind of model", ("network",)),
    ("Trust: the system", "FoundationModels", "Made from other models", ("base",)),
    ("Trust: the system", "InputDataSource", "Source of the input", ("data_source",)),
    ("Trust: the system", "OutputAndInputDataTypes", "Input and output", ("inputs", "outputs", "data_type")),
    ("Trust: the system", "DevelopmentDataCharacterization", "Development data", ("training_data",)),
    ("Trust: the system", "BiasMitigationApproaches", "Against bias", ()),
    ("Trust: the system", "OngoingMaintenance", "Maintenance", ("changelog",)),
    ("Trust: the system", "Security", "Security", ()),
    ("Trust: the system", "Transparency", "How it was made", ("made_with",)),
    ("Trust: transparency", "FundingSource", "Funding", ()),
    ("Trust: transparency", "ThirdPartyInformation", "Third parties", ("copyright",)),
    ("Trust: transparency", "StakeholdersConsulted", "Who was consulted", ()),
    *((f"Key metrics: {title}", f"{kind}.{name}", asked, keys)
      for title, kind, keys in (("usefulness and efficacy", "UsefulnessUsabilityEfficacy", ("performance",)),
                                ("fairness", "FairnessEquity", ()), ("safety and reliability", "SafetyReliability", ()))
      for name, asked, keys in (("MetricGoal", "Goal", ()), ("Results", "Result", keys),
                                ("Interpretation", "What it means", ()), ("TestType", "Kind of test", ()),
                                ("TestingDataDescription", "Test data", ()),
                                ("ValidationProcessAndJustification", "How it was validated", ()))),
    ("Resources", "EvaluationReferences", "Evaluations", ("references",)),
    ("Resources", "ClinicalTrial", "Clinical trial", ()),
    ("Resources", "PeerReviewedPublications", "Publications", ()),
    ("Resources", "ReimbursementStatus", "Reimbursement", ()),
    ("Resources", "PatientConsentOrDisclosure", "Consent or disclosure", ()),
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field of a card: which part it is of, what it is called, and what is stated; empty: nothing."""

    part: str
    name: str
    title: str
    text: str


@dataclass(frozen=True)
class ModelCard:
    """A model's card; a page in a notebook, Markdown in a terminal."""

    ref: str
    fields: tuple[Field, ...]

    @property
    def parts(self) -> dict[str, list[Field]]:
        """Fields by their part, in order."""
        found: dict[str, list[Field]] = {}
        for one in self.fields:
            found.setdefault(one.part, []).append(one)
        return found

    def as_json(self) -> dict[str, dict[str, str]]:
        """Return what is stated, by part and the schema's name."""
        return {part: {one.name: one.text for one in fields if one.text} for part, fields in self.parts.items()}

    def markdown(self) -> str:
        """Return the card as text; what is not stated is listed at the end of its part."""
        parts = [f"# {self.ref}"]
        for part, fields in self.parts.items():
            parts += [f"## {part}", "\n".join(_line(one) for one in fields if one.text)]
            parts += [f"Not stated: {', '.join(silent)}."] if (silent := _silent(fields)) else []
        return "\n\n".join(filter(None, [*parts, f"> {NOTE}"])) + "\n"

    def _repr_html_(self) -> str:
        return "".join(f"<h3>{html.escape(part)}</h3>{_table(fields)}" for part, fields in self.parts.items())


def model_card(
    bundle: Bundle, *, more: Mapping[str, Any] | None = None, measured: Mapping[str, str] | None = None
) -> ModelCard:
    """Return a model's card.

    Parameters
    ----------
    bundle
        The model.
    more
        Metadata that its own leave out, such as those of its recipe.
    measured
        Texts by CHAI's names (``FairnessEquity.Results``), from a validation report; the developer's own ``chai`` come
        before them, except under a name ending in ``Results``, where what was measured here does.
    """
    known = {**(more or {}), **bundle.metadata, "ref": bundle.ref, "name": bundle.name}
    sides = {side: tensors(known, side) for side in ("inputs", "outputs")}
    known |= {"network": bundle.network["_target_"], "base": _base(known), **sides}
    known |= {"network_data_format": {side: text for side, text in sides.items() if text}}
    stated = known.get(STATED_IN)
    said = {**(measured or {}), **(stated if isinstance(stated, Mapping) else {}), **_results(measured or {})}
    chai = [Field(part, name, title, in_words(said.get(name)) or _first(known, keys))
            for part, name, title, keys in CHAI]  # fmt: skip
    monai = [Field("MONAI metadata", key, key, in_words(known.get(key))) for key in MONAI]
    return ModelCard(bundle.ref, (*chai, *monai))


def in_words(value: object) -> str:
    """Return a value of the metadata as one line of text; empty where there is none."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {in_words(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    return "" if value is None else str(value)


def tensors(metadata: Mapping[str, Any], side: str) -> str:
    """Return what goes into a network, or comes out of it, as MONAI's ``network_data_format`` tells; empty: not told.

    Parameters
    ----------
    metadata
        Of a bundle.
    side
        ``inputs`` or ``outputs``.
    """
    told = metadata.get("network_data_format")
    sides = told.get(side) if isinstance(told, Mapping) else None
    found = sides.values() if isinstance(sides, Mapping) else ()
    return "; ".join(_tensor(one) for one in found if isinstance(one, Mapping))


def _tensor(one: Mapping[str, Any]) -> str:
    """``CT hounsfield, windows of 80×96×96 voxels, 1 channel: image``."""
    shape, channels = one.get("spatial_shape"), one.get("channel_def")
    size = "×".join(map(str, shape)) if isinstance(shape, list) else ""
    named = [str(channels[key]) for key in sorted(channels)] if isinstance(channels, Mapping) else []
    kind = " ".join(str(one[key]) for key in ("modality", "format") if one.get(key))
    counted = f"{len(named)} channel{'s' if len(named) != 1 else ''}: {', '.join(named)}" if named else ""
    return ", ".join(filter(None, (kind, f"windows of {size} voxels" if size else "", counted)))


def _results(measured: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in measured.items() if name.endswith("Results") and text}


def _first(known: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return "; ".join(filter(None, (in_words(known.get(key)) for key in keys)))


def _base(known: Mapping[str, Any]) -> str:
    made = known.get("made_with")
    return str(made.get("base", "")) if isinstance(made, Mapping) else ""


def _silent(fields: list[Field]) -> list[str]:
    return [one.title for one in fields if not one.text]


def _line(one: Field) -> str:
    return f"- {one.title}: {one.text}"


def _table(fields: list[Field]) -> str:
    rows = "".join(f"<tr><th>{html.escape(one.title)}</th><td>{html.escape(one.text)}</td></tr>"
                   for one in fields if one.text)  # fmt: skip
    silent = _silent(fields)
    told = f'<p class="note">Not stated: {html.escape(", ".join(silent))}.</p>' if silent else ""
    return (f"<table><tbody>{rows}</tbody></table>" if rows else "") + told
