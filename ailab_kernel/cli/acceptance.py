"""``ailab models criteria``, ``approve`` and ``revoke``: what a model must show, who agrees, and the way back."""

from pathlib import Path
from typing import Annotated

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import open_lab
from .show import AsJson, line, show

Alias = Annotated[str, typer.Argument(help="The alias, e.g. champion.")]


def criteria(
    name: Annotated[str, typer.Argument(help="The models' name, e.g. heart-wall.")],
    file: Annotated[Path | None, typer.Argument(help="TOML to put in force from now on; without: show them.")] = None,
    *,
    alias: Annotated[str, typer.Option(help="Show those for this alias.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Show acceptance criteria, or put new ones in force. Example: ailab models criteria heart-wall gates.toml."""
    models = open_lab().models
    if file is not None:
        if not file.is_file():
            msg = f"there is no file {file.name}; give the TOML of the criteria (docs/validation.md shows one)"
            raise WrongUse(msg)
        models.declare(name, file)
    found = models.criteria(name, alias=alias)
    body = {"model": name, "alias": alias, "origin": found.origin, "sha256": found.criteria.digest,
            "criteria": found.criteria.text}  # fmt: skip

    def _table() -> None:
        line(f"{name}@{alias}: {found.origin}, sha256 {found.criteria.digest}")
        line(found.criteria.text)

    show(body, as_json=as_json, table=_table)


def approve(
    ref: Annotated[str, typer.Argument(help="NAME@VERSION of the model.")],
    alias: Alias,
    *,
    evidence: Annotated[str, typer.Option(help="Id of the validation report that you have read.")],
    as_json: AsJson = False,
) -> None:
    """Approve of a model. Example: ailab models approve heart-wall@2 champion --evidence validate-1a2b3c4d."""
    lab = open_lab()
    record = lab.models.approve(ref, alias, evidence=lab.report(evidence))
    body = {"model": ref, "alias": alias, "report": evidence, "by": record.made_by, "at": record.made_at}
    show(body, as_json=as_json)


def revoke(
    ref: Annotated[str, typer.Argument(help="NAME@ALIAS, e.g. heart-wall@champion.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")],
    back: Annotated[bool, typer.Option("--back", help="Let it mean what it meant before, instead of nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take an alias from its model. Example: ailab models revoke heart-wall@champion --reason 'misses thin walls'."""
    name, _, alias = ref.partition("@")
    if not alias or alias.isdecimal():
        msg = f"{ref}: NAME@ALIAS is expected, e.g. heart-wall@champion"
        raise WrongUse(msg)
    models = open_lab().models
    now = models.revoke(name, alias, reason=reason, back=back)
    show({"alias": ref, "means": models.find(now).ref if now else "nothing", "reason": reason}, as_json=as_json)
