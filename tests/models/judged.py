"""Sealed reports as tests need them: of a gate that was passed by the criteria in force, or of anything else."""

import json

from ailab_kernel.ground.ids import sha256
from ailab_kernel.models.acceptance import in_force
from ailab_kernel.models.evidence import METRICS, Evidence
from ailab_kernel.reports.library import template

OWN = template("validate").digest


def gate_of(criteria, *, verdict="pass", bound=None, patients=50):
    """What a report's figures say when every criterion was met."""
    met = [one.limit + (-0.001 if one.at_most is not None and not one.share else 0.001) for one in criteria.criteria]
    verdicts = [{"number": 0, "asked": "no failed case", "verdict": "pass", "bound": 0, "patients": patients}]
    verdicts += [{"number": number, "asked": f"{one.metric} of {one.label}", "verdict": verdict, "reason": "",
                  "bound": value if bound is None else bound, "patients": patients}
                 for number, (one, value) in enumerate(zip(criteria.criteria, met, strict=True), 1)]  # fmt: skip
    return {"criteria": criteria.digest, "passed": verdict == "pass", "verdicts": verdicts}


def dataset_in(catalog, name="check"):
    return catalog.append("dataset", {"labels": [], "cases": [], "of": name}, name=name)


class Report:
    """A sealed report about a model; whatever differs is said by name."""

    def __init__(self, catalog, bundle, *, id="validate-00000000", alias="champion", dataset=None, gate=None, **told):
        self.gate = gate or gate_of(in_force(catalog, bundle.name, alias=alias, recipe=bundle.recipe).criteria)
        self.metrics = json.dumps({"gate": self.gate}).encode()
        resolved = {"model": bundle.digest, "dataset": (dataset or dataset_in(catalog)).digest} | told.pop("resolved", {})
        self.manifest = json.dumps({
            "id": id, "template": "validate", "template_digest": OWN, "state": "done", "resolved": resolved,
            "files": {METRICS: sha256(self.metrics)}, **told}).encode()  # fmt: skip
        self.shown = Evidence(id, self.manifest, catalog.sign(self.manifest), self.metrics)

    def evidence(self):
        return self.shown
