"""``ailab reidentify``: whom a pseudonym stands for, by role, with a reason that stays in the trail."""

from typing import Annotated

import typer

from .asked import open_lab
from .show import AsJson, line, show

_ALONE = "roles are not enforced here: this lab runs in your own process, and whoever can open it can do this"


def reidentify(
    pseudonym: Annotated[str, typer.Argument(help="PatientID of a de-identified study or dataset, 16 digits.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; recorded with your name. It must name nobody.")],
    as_json: AsJson = False,
) -> None:
    """Find the patient behind a pseudonym. Example: ailab reidentify 0123456789abcdef --reason 'incidental finding'."""
    catalog = open_lab().workspace.catalog
    found = catalog.reidentify(pseudonym, reason)
    if not catalog.roles_enforced:
        typer.echo(_ALONE, err=True)
    show({"pseudonym": pseudonym, "identifier": found}, as_json=as_json, table=lambda: line(found))
