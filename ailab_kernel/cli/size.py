"""``ailab size``: the seed's sizing questionnaire, asked here or read from a file; and what this machine does."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import open_lab
from .show import AsJson, line, rows, show

if TYPE_CHECKING:
    from ailab_kernel.fleet.sizing import Answers, Sizing


def size(
    *,
    source: Annotated[Path | None, typer.Option("--from", help="TOML file with answers; none: they are asked.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Make the answer a report with plots, in the lab.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Measure this machine instead: some minutes.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="With --measure: small phantoms, no class by time.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how large a site's AI compute must be, and why. Example: ailab size --from answers.toml."""
    if measure or quick:
        if not measure or source or report:
            msg = "--measure goes alone or with --quick; the questionnaire is ailab size, or ailab size --from FILE"
            raise WrongUse(msg)
        _measure(quick=quick, as_json=as_json)
        return
    from ailab_kernel.fleet.sizing import answers_of
    from ailab_kernel.fleet.sizing import size as sized

    answers = answers_of(read(source)) if source else _ask()
    found = sized(answers)
    made = _report(answers) if report else {}
    show({"answers": asdict(answers), **_body(found), **made}, as_json=as_json, table=lambda: _tell(found, made))


def read(source: Path) -> dict[str, Any]:
    """Return the answers in a TOML file; WrongUse when it is none."""
    try:
        return tomllib.loads(source.read_text())
    except OSError as error:
        msg = f"the answers cannot be read ({error.strerror}); give a TOML file (train = \"new\")"
        raise WrongUse(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"the answers are no TOML: {error}"
        raise WrongUse(msg) from error


def _ask() -> "Answers":
    from ailab_kernel.fleet.sizing import QUESTIONS, Answers, answers_of

    given = {}
    for one in fields(Answers):
        text = typer.prompt(QUESTIONS[one.name], default=one.default, type=type(one.default), err=True)
        given[one.name] = text
    return answers_of(given)


def _report(answers: "Answers") -> dict[str, str]:
    from ailab_kernel.reports.sizing.report import size_report

    made = size_report(open_lab().workspace, answers)
    return {"report": made.id, "page": str(made.html)}


def _measure(*, quick: bool, as_json: bool) -> None:
    from ailab_kernel.reports.sizing.report import measure

    made = measure(open_lab().workspace, quick=quick)
    told = made.manifest["notes"]["measured"]
    show({"report": made.id, "page": str(made.html), **told}, as_json=as_json,
         table=lambda: _tell_measured(told, str(made.html)))  # fmt: skip


def _tell_measured(told: Mapping[str, Any], page: str) -> None:
    line(told["machine"] + (f" ({told['busy']})" if told["busy"] else ""))
    line(f"TFLOPS class: {told['tflops_class'].upper()}: {told['tflops_because']}")
    line(f"  {told['arithmetic']}")
    line(f"time class: {told['time_class'].upper()}: {told['time_because']}")
    rows(_rows(told["rows"]))
    line("* extrapolated from fewer studies:")
    for row in told["rows"]:
        line(f"  {row['workflow']}: {row['how'] or 'measured whole'}")
    line(f"report: {page}")


def _rows(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    from ailab_kernel.fleet.measured import words

    return [{"workflow": row["workflow"], "metric (3.4)": row["metric"], "Pilot": row["pilot"], "Small": row["small"],
             "here": words(row["whole_s"]) + " *" * row["extrapolated"],
             "an hour": f"{row['per_hour']:.4g} {'models' if row['workflow'] == 'Train' else 'exams'}"}
            for row in measured]  # fmt: skip


def _body(found: "Sizing") -> dict[str, Any]:
    told = asdict(found)
    low, high = found.tier.tflops
    return {**told, "tier": found.tier.name, "tflops": [low, high if high != float("inf") else None],
            "experience": found.tier.experience, "footprint": found.tier.footprint, "ram_gb": found.tier.ram_gb,
            "disk_gb_total": round(sum(found.disk_gb.values()), 1)}  # fmt: skip


def _tell(found: "Sizing", made: Mapping[str, str]) -> None:
    low, high = found.tier.tflops
    line(f"{found.tier.name.upper()}: {found.tier.whom}")
    line(f"  {low:g} to {high:g} TFLOPS" if high != float("inf") else f"  {low:g} TFLOPS and more")
    line(f"  {found.tier.footprint}")
    line(f"  expect: {found.tier.experience}")
    line(f"  memory at least {found.tier.ram_gb} GB; network at least {found.network_gbps[1]:g} Gbit/s "
         f"({found.network_gbps[0]:.3g} in the busiest hour)")  # fmt: skip
    kinds = ", ".join(f"{name} {gb:g}" for name, gb in found.disk_gb.items())
    line(f"  disk {sum(found.disk_gb.values()):.0f} GB at the end of retention ({kinds})")
    line("  by year: " + ", ".join(f"{gb:.0f}" for gb in found.disk_by_year))
    line("why:")
    for reason in found.reasons:
        line(f"  {reason}")
    if made:
        line(f"report: {made['page']}")
