"""The four workflows: ``ailab annotate``, ``train``, ``validate`` and ``infer``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import Date, Description, Limit, Modality, Study, open_lab, search
from .show import AsJson, line, show

if TYPE_CHECKING:
    from ailab_kernel.inference.plain import PlainRun
    from ailab_kernel.reports import Report

Model = Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]


def annotate(
    *,
    label: Annotated[str, typer.Option(help="What to draw, e.g. 'heart wall'.")],
    assist: Annotated[str, typer.Option(help="Model that proposes, e.g. heart-wall@general.")] = "",
    reader: Annotated[str, typer.Option(help="none, simulated or reference (the last two need a SEG).")] = "none",
    reason: Annotated[str, typer.Option(help="Why studies not marked as de-identified may enter; recorded.")] = "",
    readers: Annotated[str, typer.Option(help="Logins of who reads every case, e.g. ann,ben: blind.")] = "",
    adjudicator: Annotated[str, typer.Option(help="Login of who alone reviews.")] = "",
    consensus: Annotated[str, typer.Option(help="What the adjudicator begins with: majority or staple.")] = "majority",
    order: Annotated[str, typer.Option(help="Which case comes first: first or random.")] = "first",
    modality: Modality = "CT",
    description: Description = "",
    date: Date = "",
    study: Study = "",
    limit: Limit = 0,
    as_json: AsJson = False,
) -> None:
    """Make a task and let a model propose. Example: ailab annotate --label 'heart wall' --assist heart-wall@general."""
    from ailab_kernel.annotation.assist import READERS

    if reader not in READERS:
        msg = f"--reader {reader}: one of {', '.join(READERS)} is expected here; a person draws in a notebook"
        raise WrongUse(msg)
    lab = open_lab()
    studies = search(lab, limit, modality=modality, description=description, date=date, study=study)
    people: dict[str, Any] = {"readers": [one.strip() for one in readers.split(",") if one.strip()],
                              "adjudicator": adjudicator, "consensus": consensus, "order": order}  # fmt: skip
    task = lab.annotate(studies, label=label, assist=assist, reader=reader, reason=reason, **people)
    states = [task.state(uid) or "untouched" for uid in task.series_uids]
    show({"task": task.ref, **{state: states.count(state) for state in sorted(set(states))}}, as_json=as_json)


def train(
    dataset: Annotated[str, typer.Argument(help="NAME@VERSION of a dataset.")],
    *,
    base: Annotated[str, typer.Option(help="Model to start from, e.g. heart-wall@general.")],
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 7,
    epochs: Annotated[int, typer.Option(help="At most; 0 takes the recipe's number.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model; the same command resumes. Example: ailab train heart-wall@1 --base heart-wall@general."""
    run = open_lab().train(dataset, base=base, seed=seed, epochs=epochs)
    tell(run.report, as_json, model=run.model.ref)


def validate(
    model: Model,
    *,
    dataset: Annotated[str, typer.Option(help="NAME@VERSION of a dataset with test cases.")],
    baseline: Annotated[str, typer.Option(help="Model to compare with; empty: the one it was tuned from.")] = "",
    alias: Annotated[str, typer.Option(help="For which alias it is judged.")] = "champion",
    criteria: Annotated[Path | None, typer.Option(help="TOML to judge it by; without: the criteria in force.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Score and judge a model beside its base. Example: ailab validate heart-wall@2 --dataset heart-wall-check@1."""
    tell(open_lab().validate(model=model, dataset=dataset, baseline=baseline, alias=alias, criteria=criteria or "",
                             seed=seed), as_json)  # fmt: skip


def infer(
    model: Model,
    *,
    source: Annotated[Path | None, typer.Option("--input", help="Without a lab: DICOM folder or NIfTI file.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Without a lab: folder for the results.")] = None,
    store: Annotated[bool, typer.Option(help="Whether SEG and SR go back to the archive.")] = True,
    modality: Modality = "CT",
    description: Description = "",
    date: Date = "",
    study: Study = "",
    limit: Limit = 0,
    as_json: AsJson = False,
) -> None:
    """Run a model on studies, or on plain files. Example: ailab infer lungs@general --input ./ct --output ./out."""
    if source or output:
        _infer_plain(model, source, output, as_json=as_json)
        return
    lab = open_lab()
    studies = search(lab, limit, modality=modality, description=description, date=date, study=study)
    tell(lab.infer(model=model, studies=studies, store=store), as_json)


def _infer_plain(model: str, source: Path | None, output: Path | None, *, as_json: bool) -> None:
    from ailab_kernel.inference.plain import infer_plain, plain_bundle

    if not source or not output:
        msg = "--input and --output belong together: give both, or neither to use the lab's archive"
        raise WrongUse(msg)
    run = infer_plain(plain_bundle(model), source, output)
    body = {
        "written": [{"series": one.series, "files": [str(file) for file in one.files], "volumes_ml": one.volumes_ml}
                    for one in run.written],
        "refused": [{"what": one.what, "reason": one.reason} for one in run.refused],
    }  # fmt: skip
    show(body, as_json=as_json, table=lambda: _tell_plain(run))


def _tell_plain(run: "PlainRun") -> None:
    for one in run.written:
        volumes = ", ".join(f"{name} {ml:.0f} ml" for name, ml in one.volumes_ml.items())
        line(f"series {one.series or 'from file'}: {volumes}")
        for file in one.files:
            line(f"  {file}")
    for refused in run.refused:
        line(f"set aside: {refused.what}: {refused.reason}")


def tell(report: "Report", as_json: bool, **more: Any) -> None:
    """Print a report: where its page is, and its plain figures."""
    pdf = {"pdf": str(report.pdf)} if report.pdf else {}
    body = {"report": report.id, "state": report.state, "page": str(report.html), **pdf, **more,
            "metrics": report.metrics}  # fmt: skip

    def _table() -> None:
        line(f"{report.id}  {report.state}  {report.html}")
        for key, value in {**pdf, **more, **_figures(report.metrics)}.items():
            line(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")

    show(body, as_json=as_json, table=_table)


def _figures(metrics: Any) -> dict[str, Any]:
    """The plain figures among the metrics; tables are for the page."""
    return {key: value for key, value in metrics.items() if isinstance(value, int | float | str)}
