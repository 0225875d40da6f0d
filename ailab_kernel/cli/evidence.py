"""``ailab models evidence`` and ``check-evidence``: what speaks for a model, in one file."""

from pathlib import Path
from typing import Annotated

import typer

from .asked import open_lab
from .exits import Release
from .show import AsJson, lines, show


def evidence(
    ref: Annotated[str, typer.Argument(help="NAME, NAME@VERSION or NAME@ALIAS.")],
    out: Annotated[Path, typer.Argument(help="A new .zip.")],
    *,
    release: Release = "",
    as_json: AsJson = False,
) -> None:
    """Write all that speaks for a model into one file. Example: ailab models evidence lungs@1 lungs.zip."""
    from ailab_kernel.reports.evidence_pack import check_evidence, write_evidence

    path = write_evidence(open_lab().workspace, ref, out, release=release)
    facts, _ = check_evidence(path)
    show({"pack": str(path), "facts": facts}, as_json=as_json, table=lambda: lines((str(path), *facts)))


def check(
    pack: Annotated[Path, typer.Argument(help="An evidence pack of whatever lab.")],
    *,
    fingerprint: Annotated[str, typer.Option(help="Of the key that must have signed it (ailab models key).")] = "",
    as_json: AsJson = False,
) -> None:
    """Check an evidence pack; needs no lab. Example: ailab models check-evidence lungs.zip --fingerprint 0a1b2c3d."""
    from ailab_kernel.reports.evidence_pack import check_evidence

    facts, findings = check_evidence(pack, fingerprint=fingerprint)
    told = findings or ("every file and every seal is as it was signed",)
    show({"whole": not findings, "facts": facts, "findings": findings}, as_json=as_json,
         table=lambda: lines((*facts, *told)))  # fmt: skip
    if findings:
        raise typer.Exit(1)
