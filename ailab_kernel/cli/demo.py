"""``ailab demo``: the seed's sample scenario (section 3.4) on phantoms, from an empty archive to four reports.

Andrew annotates heart-wall studies, tunes a model that another institution shared, validates it on studies it has
not seen, and infers. What was done before is reused: reports and records are addressed by what they are made from.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.fleet.scenario import SCENARIO
from ailab_kernel.ground.progress import say

from .asked import open_lab
from .show import AsJson, line, show

if TYPE_CHECKING:
    from ailab_kernel.archives.found import Studies
    from ailab_kernel.lab import Lab
    from ailab_kernel.reports import Report

STYLE = "general-hospital"
BASE = "heart-wall@general"
LABEL = "heart wall"


@dataclass(frozen=True)
class Scale:
    """How large the scenario is played: studies per workflow, and the size of each."""

    annotate: int
    validate: int
    infer: int
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def words(self) -> str:
        """``128×128×60``."""
        slices, rows, columns = self.size
        return f"{columns}×{rows}×{slices}"


SCALES = {
    False: Scale(12, 20, 6, (60, 128, 128), (5.0, 2.8, 2.8)),
    True: Scale(100, 20, 30, (100, 512, 512), (3.0, 0.7, 0.7)),
}
# Seeds apart from those that trained the base models (training.base).
FIRST_SEED = {"annotate": 500_000, "validate": 510_000, "infer": 520_000}


def demo(
    full: Annotated[bool, typer.Option("--full", help="The seed's scale: 100, 20, 30 studies of 512×512×100.")] = False,
    home: Annotated[Path | None, typer.Option(help="Lab folder; default: the lab of this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play the seed's sample scenario on phantoms. Example: ailab demo."""
    started, scale = time.monotonic(), SCALES[full]
    lab = open_lab(home)
    say(f"AI-LAB demo: a one-user pilot in {lab.home}; roles are not enforced; every patient is a phantom")
    reports = _play(lab, scale)
    page = _index(lab, scale, reports)
    judged = reports["validate"].metrics
    figures = judged["difference"]["heart-wall"]["difference"]
    took = time.monotonic() - started
    body = {"index": str(page), "reports": {name: report.id for name, report in reports.items()},
            "seconds": round(took, 1), "tuned_minus_base_dice": figures,
            "gate": {"base": judged["baseline_gate"]["verdict"], "tuned": judged["verdict"]}}  # fmt: skip

    def _table() -> None:
        line(f"tuned beats base by {figures['mean']:.3f} Dice on {figures['n']} unseen phantoms, "
             f"95 % interval {figures['low']:.3f} to {figures['high']:.3f}")  # fmt: skip
        line(f"the gate for @champion: the base model {_told(judged['baseline_gate'])}, the tuned one "
             f"{_told(judged['gate'])}")  # fmt: skip
        line(f"done in {took:.0f} s; open {page}")

    show(body, as_json=as_json, table=_table)


def _told(gate: "Mapping[str, Any]") -> str:
    """``fails (mean Dice of heart-wall at least 0.800: 0.553)``, by the bound that it goes by."""
    missed = [one for one in gate["verdicts"] if one["verdict"] != "pass"]
    if not missed:
        return "passes"
    bound = "no bound" if missed[0]["bound"] is None else f"{missed[0]['bound']:.3f}"
    return f"fails ({missed[0]['asked']}: {bound})"


def _play(lab: "Lab", scale: Scale) -> "Mapping[str, Report]":
    cohorts = {name: _stage(f"{getattr(scale, name)} phantom studies to {name}", _studies, lab, name, scale)
               for name in FIRST_SEED}  # fmt: skip
    task = _stage(f"annotating: {BASE} proposes, a simulated reader corrects", lab.annotate, cohorts["annotate"],
                  label=LABEL, assist=BASE, reader="simulated")  # fmt: skip
    data = lab.datasets.freeze("heart-wall", task.accepted(), split=(0.8, 0.2, 0.0))
    run = _stage(f"fine-tuning {BASE} on {data.ref}", lab.train, data.ref, base=BASE)
    known = _stage("reading the reference segmentations of the validation studies", lab.annotate, cohorts["validate"],
                   label=LABEL, reader="reference")  # fmt: skip
    check = lab.datasets.freeze("heart-wall-check", known.accepted(), split=(0.0, 0.0, 1.0))
    validated = _stage(f"validating {run.model.ref} beside {BASE} on {check.ref}", lab.validate, model=run.model,
                       dataset=check.ref, baseline=BASE)  # fmt: skip
    lab.models.promote(run.model, "champion", evidence=validated)
    inferred = _stage("inferring with heart-wall@champion; SEG and SR go to the archive", lab.infer,
                      model="heart-wall@champion", studies=cohorts["infer"])  # fmt: skip
    return {"annotate": _report_on(lab, task.ref), "train": run.report, "validate": validated, "infer": inferred}


def _report_on(lab: "Lab", task: str) -> "Report":
    """The annotation report of a task."""
    return next(report for report in lab.reports() if report.manifest.get("parameters", {}).get("task") == task)


def _stage(told: str, act: Any, *args: Any, **kwargs: Any) -> Any:
    """Do one stage of the scenario between two lines of progress."""
    started = time.monotonic()
    say(f"• {told} ...")
    done = act(*args, **kwargs)
    say(f"  {time.monotonic() - started:.1f} s")
    return done


def _studies(lab: "Lab", cohort: str, scale: Scale) -> "Studies":
    """Phantom studies of one cohort in the archive; those that are not there yet are made."""
    from ailab_kernel.datasets.phantoms import random_phantom, study_uid

    from .phantoms import made

    seeds = range(FIRST_SEED[cohort], FIRST_SEED[cohort] + getattr(scale, cohort))
    how: dict[str, Any] = {"style": STYLE, "size": scale.size, "spacing_mm": scale.spacing_mm}
    uids = {seed: study_uid(random_phantom(seed, **how)) for seed in seeds}
    there = {study.uid for study in lab.archive.search_studies(study=list(uids.values()))}
    missing = [seed for seed, uid in uids.items() if uid not in there]
    for objects in made(missing, **how, truth=cohort != "infer"):
        lab.archive.store(objects)
    return lab.archive.search_studies(study=list(uids.values()))


def _index(lab: "Lab", scale: Scale, reports: "Mapping[str, Report]") -> Path:
    """The page that shows the seed's performance table beside what was measured."""
    from ailab_kernel.reports import write_index

    counts = {"annotate": scale.annotate, "train": scale.annotate, "validate": scale.validate, "infer": scale.infer}
    rows = [_row(expected, reports[expected.workflow.lower()], counts[expected.workflow.lower()], scale)
            for expected in SCENARIO]  # fmt: skip
    return write_index(lab.home, table=rows, title="AI-LAB demo", note=(
        "The seed's section 3.4 beside this machine. Times are processing time on phantoms, without notebook start-up "
        "and without people. Phantoms prove plumbing and statistics, not clinical value."))  # fmt: skip


def _row(expected: Any, report: "Report", count: int, scale: Scale) -> Mapping[str, str]:
    seconds = report.manifest["notes"]["processing_seconds"]
    return {"workload": expected.workflow, "metric in the seed": expected.metric, "pilot": expected.pilot,
            "small": expected.small, "measured here": f"{seconds:.1f} s",
            "on": f"{count} studies of {scale.words}", "report": report.id}  # fmt: skip
