"""What a lab knows of one model: read from its ledger, its trail and its reports, and judged by nobody here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ailab_kernel.datasets.lineage import lineage
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.inference.series import KIND as INFERENCE
from ailab_kernel.models import Bundle, Models
from ailab_kernel.models.bundle import KIND as MODEL
from ailab_kernel.models.sharing.taking import RECEIVED
from ailab_kernel.reports.report import Report, list_reports, verify
from ailab_kernel.validation.metrics import METRICS

if TYPE_CHECKING:
    from ailab_kernel.ground.catalog import Catalog, Record
    from ailab_kernel.workspace import Workspace

MONITORING = "monitoring"                      # records of whoever watches a model, made from its record
_REPLAY, _CRITERIA, _APPROVAL = "replay", "criteria", "approval"
_LINES = 5000                                  # of the trail
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Gathered:
    """Everything about one model, as plain values.

    Attributes
    ----------
    bundle
        The model.
    inventory
        What it is, by heading.
    acceptance
        Sealed validation reports about it: ``report``, ``dataset``, ``ended``, ``intact``, ``gate``, ``cases``,
        ``failed``, and ``figures``: ``measure``, ``mean``, ``low``, ``high``, ``patients``.
    criteria
        In force for its aliases: TOML texts with who declared them.
    monitoring
        What a watch wrote of it.
    use
        How often it ran: ``month``, ``inferences``, ``engines``.
    history
        Every move of every alias of its name, and whether it is about this model.
    approvals
        Who approved of it, for what.
    made_from
        Its ancestors: models and datasets by name, all else counted.
    replays
        What running its reports or results again gave.
    trail
        Lines of the audit trail about it; empty where ``trail_said`` says why.
    trail_said
        Whether the trail is intact, or why it was not read.
    reports
        Reports that go into the pack whole: its training and its validations.
    """

    bundle: Bundle
    inventory: Mapping[str, Any]
    acceptance: Sequence[Row]
    criteria: Sequence[Row]
    monitoring: Sequence[Row]
    use: Sequence[Row]
    history: Sequence[Row]
    approvals: Sequence[Row]
    made_from: Sequence[Row]
    replays: Sequence[Row]
    trail: Sequence[Row]
    trail_said: str
    reports: Sequence[Report] = field(repr=False)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return self.bundle.ref


def collect(workspace: "Workspace", ref: str) -> Gathered:
    """Gather what there is about a model.

    Parameters
    ----------
    workspace
        The lab.
    ref
        ``heart-wall@2`` or ``heart-wall@champion``.
    """
    catalog = workspace.catalog
    models = Models(catalog)
    bundle = models.get(ref)
    bundle.check()
    record = catalog.query(MODEL, digest=bundle.digest)[0]
    done = [one for one in list_reports(workspace.home) if one.state == "done"]
    validations = [one for one in done if one.manifest.get("template") == "validate"
                   and one.manifest.get("resolved", {}).get("model") == bundle.digest]  # fmt: skip
    trainings = [one for one in done if one.manifest.get("template") == "train"
                 and one.metrics.get("model") == bundle.ref]  # fmt: skip
    runs = [one for one in catalog.query(INFERENCE) if bundle.digest in one.parents]
    trail, said = _trail(catalog, bundle)
    return Gathered(
        bundle, _inventory(bundle, record, models, catalog),
        acceptance=[_acceptance(one, catalog) for one in validations],
        criteria=[{"version": one.ref, "declared": one.made_at, "by": one.made_by,
                   "toml": str(one.body.get("toml", ""))} for one in catalog.query(_CRITERIA, name=bundle.name)],
        monitoring=[{"at": one.made_at, **one.body} for one in catalog.query(MONITORING)
                    if bundle.digest in one.parents],
        use=_use(runs),
        history=[{**vars(move), "this model": move.digest == bundle.digest} for move in models.history(bundle.name)],
        approvals=[{"alias": one.body.get("alias"), "report": one.body.get("report"), "by": one.made_by,
                    "at": one.made_at} for one in catalog.query(_APPROVAL, name=bundle.name)
                   if bundle.digest in one.parents],
        made_from=_made_from(catalog, record),
        replays=_replays(catalog, {one.id for one in (*validations, *trainings)}, {one.digest for one in runs}),
        trail=trail, trail_said=said, reports=[*trainings, *validations],
    )  # fmt: skip


def _inventory(bundle: Bundle, record: "Record", models: Models, catalog: "Catalog") -> dict[str, Any]:
    about = bundle.metadata
    received = [one.body for one in catalog.query(RECEIVED, name=bundle.name) if bundle.digest in one.parents]
    aliases = [f"@{alias}" for alias, digest in models.aliases(bundle.name).items() if digest == bundle.digest]
    return {
        "model": bundle.ref, "SHA-256 of its record": bundle.digest, "SHA-256 of its weights": bundle.weights_digest,
        "what it is": about.get("description", ""), "intended use": about.get("intended_use", ""),
        "limits": about.get("limits", ""), "recipe": bundle.recipe, "network": bundle.network["_target_"],
        "in use as": ", ".join(aliases) or "not in use: no alias means it now",
        "in this lab since": f"{record.made_at[:16].replace('T', ' ')} UTC, by {record.made_by}",
        "taken from": "; ".join(f"{one['lab']} ({one['offer']})" for one in received) or "made or imported here",
    }  # fmt: skip


def _acceptance(report: Report, catalog: "Catalog") -> dict[str, Any]:
    wrong = verify(report, verify_signature=catalog.verify)
    uses = report.manifest.get("notes", {}).get("uses", {})
    gate = report.metrics.get("gate")
    return {
        "report": report.id, "dataset": uses.get("dataset", {}).get("ref", ""),
        "ended": report.manifest.get("ended", ""), "intact": not wrong, "wrong": list(wrong),
        "gate": gate if isinstance(gate, Mapping) else {},
        "figures": list(_measures(report.metrics.get("model", report.metrics))),
        "cases": report.metrics.get("cases"), "failed": report.metrics.get("failed"),
    }  # fmt: skip


def _measures(values: Any, at: str = "") -> Iterator[dict[str, Any]]:
    """Each mean among nested figures, with its interval and on how many; what it is of is told by its place."""
    if not isinstance(values, Mapping):
        return
    if isinstance(values.get("mean"), int | float):
        yield {"measure": _titled(at), **{key: values.get(key, "") for key in ("mean", "low", "high", "patients")}}
        return
    for key, value in values.items():
        yield from _measures(value, f"{at} {key}".strip())


def _titled(place: str) -> str:
    """A measure as people call it, with its unit: ``heart-wall HD95, mm``."""
    label, _, name = place.rpartition(" ")
    known = METRICS.get(name)
    unit = f", {known.unit}" if known and known.unit else ""
    return f"{label} {known.title}{unit}" if known else place


def _use(runs: "Sequence[Record]") -> list[dict[str, Any]]:
    months = sorted({one.made_at[:7] for one in runs})
    by_month = {month: [one for one in runs if one.made_at.startswith(month)] for month in months}
    return [{"month": month, "inferences": len(those), "engines": ", ".join(sorted({str(one.body["engine"])
             for one in those}))} for month, those in by_month.items()]  # fmt: skip


def _made_from(catalog: "Catalog", record: "Record") -> list[dict[str, Any]]:
    """Ancestors: a series' record has its UID for a name, and so is only counted."""
    found = lineage(catalog, record).ancestors
    known = {one.digest for one in found}
    named = [{"kind": one.kind, "what": one.ref, "digest": one.digest, "made": one.made_at, "by": one.made_by}
             for one in found if one.kind in {MODEL, "dataset"}]  # fmt: skip
    rest = sorted({one.kind for one in found} - {MODEL, "dataset"})
    counted = [{"kind": kind, "what": f"{sum(one.kind == kind for one in found)} records", "digest": "", "made": "",
                "by": ""} for kind in rest]  # fmt: skip
    elsewhere = [{"kind": "record of another lab", "what": "known by its digest only", "digest": digest, "made": "",
                  "by": ""} for digest in record.parents if digest not in known]  # fmt: skip
    return [*named, *counted, *elsewhere]


def _replays(catalog: "Catalog", reports: set[str], runs: set[str]) -> list[dict[str, Any]]:
    return [{"what": one.name if one.name in reports else f"SEG …{one.name[-8:]}", "at": one.made_at,
             "by": one.made_by, "identical": one.body["identical"],
             "differences": "; ".join(one.body["differences"]), "causes": "; ".join(one.body["causes"])}
            for one in catalog.query(_REPLAY) if one.name in reports or runs.intersection(one.parents)]  # fmt: skip


def _trail(catalog: "Catalog", bundle: Bundle) -> tuple[list[dict[str, Any]], str]:
    """Lines that name the model, and whether the whole trail is as it was written."""
    words = (bundle.digest, f'"{bundle.ref}"', f'"{bundle.name}@')
    try:
        lines = catalog.audit_trail()          # type: ignore[attr-defined] # both catalogs have it; by role
        faults = catalog.audit_findings()      # type: ignore[attr-defined]
    except AilabError as error:
        return [], f"The audit trail was not read: {error}"
    found = [{key: one[key] for key in ("seq", "at", "by", "event", "detail")} for one in lines
             if any(word in str(one["detail"]) for word in words)]  # fmt: skip
    told = "The whole trail is as it was written." if not faults else f"The trail is NOT intact: {faults[0]}"
    cut = f" The newest {_LINES} of {len(found)} lines are here." if len(found) > _LINES else ""
    return [{**one, "detail": json.loads(str(one["detail"]))} for one in found[-_LINES:]], told + cut
