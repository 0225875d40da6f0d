"""``ailab report``: list, show, compare, verify and replay what was run."""

from pathlib import Path
from typing import Annotated

import typer

from .asked import open_lab
from .exits import Release
from .show import AsJson, line, lines, rows, show

app = typer.Typer(help="List, show, compare, verify and replay reports. Example: ailab report list",
                  no_args_is_help=True)  # fmt: skip
Id = Annotated[str, typer.Argument(help="A report's id, e.g. validate-1a2b3c4d.")]


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List reports, newest first. Example: ailab report list."""
    found = [{"report": one.id, "state": one.state, "made": one.manifest.get("ended", ""), "page": str(one.html)}
             for one in open_lab().reports()]  # fmt: skip
    show(found, as_json=as_json)


@app.command("show")
def show_command(report: Id, as_json: AsJson = False) -> None:
    """Show a report's figures and where its page is. Example: ailab report show validate-1a2b3c4d."""
    found = open_lab().report(report)
    body = {"report": found.id, "state": found.state, "page": str(found.html), "pdf": str(found.pdf or ""),
            "metrics": found.metrics, "manifest": found.manifest}  # fmt: skip

    def _table() -> None:
        line(f"{found.id}  {found.state}  {found.html}")
        for key, value in {**({"pdf": found.pdf} if found.pdf else {}), **found.metrics}.items():
            line(f"  {key}: {value}")

    show(body, as_json=as_json, table=_table)


@app.command()
def compare(
    report: Id,
    other: Annotated[str, typer.Argument(help="Another one; the difference is this one minus the first.")],
    *,
    metric: Annotated[str, typer.Option(help="What is compared, e.g. dice, nsd, hd95.")] = "dice",
    as_json: AsJson = False,
) -> None:
    """Compare two validations, of two models or two datasets. Example: ailab report compare validate-1a validate-2b."""
    from ailab_kernel.reports.record import compare_reports

    lab = open_lab()
    found = compare_reports(lab.workspace.catalog, lab.report(report), lab.report(other), metric=metric)

    def _table() -> None:
        rows(found.table())
        line(found.note())

    show(found.as_json(), as_json=as_json, table=_table)


@app.command()
def verify(report: Id, as_json: AsJson = False) -> None:
    """Check a report's seal, files and inputs. Example: ailab report verify validate-1a2b3c4d."""
    findings = open_lab().verify(report)
    show({"report": report, "intact": not findings, "findings": findings}, as_json=as_json,
         table=lambda: lines(findings or (f"{report}: seal, files and inputs are intact",)))  # fmt: skip
    if findings:
        raise typer.Exit(1)


@app.command()
def export(
    report: Id,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    *,
    release: Release = "",
    as_json: AsJson = False,
) -> None:
    """Copy a sealed report to a folder. Example: ailab report export validate-1a2b3c4d ./out."""
    from ailab_kernel.reports.exits import export_report

    lab = open_lab()
    path = export_report(lab.workspace.catalog, lab.report(report), folder, release=release)
    show({"report": report, "folder": str(path)}, as_json=as_json)


@app.command()
def replay(
    report: Annotated[str, typer.Argument(help="A report's id, or the SOP Instance UID of a SEG that infer stored.")],
    *,
    engine: Annotated[str, typer.Option(help="For a SEG: openvino, torch or torch-cuda; empty: that of then.")] = "",
    rebuild: Annotated[bool, typer.Option(help="Run it in the environment that its record's lock names.")] = False,
    code: Annotated[Path | None, typer.Option(help="With --rebuild: a checkout of the AI-LAB that ran then.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="With --rebuild: a package that may be installed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a report or a SEG again: identical, or what differs. Example: ailab report replay validate-1a2b3c4d."""
    done = open_lab().replay(report, engine=engine, rebuild=rebuild, code=code, allow=allow or ())
    show(done.told(), as_json=as_json, table=lambda: lines(done.lines()))
    if not done.identical:
        raise typer.Exit(1)
