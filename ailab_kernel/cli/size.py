"""``ailab size``: the seed's sizing questionnaire, asked here or read from a file."""

import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .show import AsJson, line, show

if TYPE_CHECKING:
    from ailab_kernel.fleet.sizing import Answers, Sizing


def size(
    *,
    source: Annotated[Path | None, typer.Option("--from", help="TOML file with answers; none: they are asked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how large a site's AI compute must be, and why. Example: ailab size --from answers.toml."""
    from ailab_kernel.fleet.sizing import answers_of
    from ailab_kernel.fleet.sizing import size as sized

    answers = answers_of(read(source)) if source else _ask()
    found = sized(answers)
    show({"answers": asdict(answers), **_body(found)}, as_json=as_json, table=lambda: _tell(found))


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


def _body(found: "Sizing") -> dict[str, Any]:
    told = asdict(found)
    low, high = found.tier.tflops
    return {**told, "tier": found.tier.name, "tflops": [low, high if high != float("inf") else None],
            "experience": found.tier.experience, "footprint": found.tier.footprint, "ram_gb": found.tier.ram_gb,
            "disk_gb_total": round(sum(found.disk_gb.values()), 1)}  # fmt: skip


def _tell(found: "Sizing") -> None:
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
