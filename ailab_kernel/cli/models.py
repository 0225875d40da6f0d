"""``ailab models``: bundles in, out, by name, and what an alias means."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import evidence as packs
from . import sharing
from .asked import open_lab
from .exits import Release
from .show import AsJson, line, lines, show

if TYPE_CHECKING:
    from ailab_kernel.models import Bundle

app = typer.Typer(help="Keep, show and name models. Example: ailab models list", no_args_is_help=True)
_README = "docs/README.md"
Ref = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or NAME@ALIAS.")]
for command in (sharing.search, sharing.push, sharing.pull, sharing.key, sharing.serve, packs.evidence):
    app.command()(command)
app.command("check-evidence")(packs.check)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the lab's models. Example: ailab models list."""
    models = open_lab().models
    show([_row(bundle, models.aliases(bundle.name)) for bundle in models.all()], as_json=as_json)


@app.command("show")
def show_command(ref: Ref, as_json: AsJson = False) -> None:
    """Show a model's card, and where its aliases went. Example: ailab models show heart-wall@general."""
    from ailab_kernel.models.model_card import model_card
    from ailab_kernel.reports.record import known_metadata

    models = open_lab().models
    bundle = models.get(ref)
    card = model_card(bundle, more=known_metadata(bundle))
    body = {**_row(bundle, models.aliases(bundle.name)), "card": card.as_json(), "metadata": bundle.metadata,
            "network": bundle.network, "files": bundle.body["files"],
            "history": [vars(move) for move in models.history(bundle.name)]}  # fmt: skip
    show(body, as_json=as_json, table=lambda: _tell(bundle, body, card.markdown()))


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help=(
        "Folder, zip or file: MONAI bundle, Hugging Face, TensorFlow.js (MeshNet), TorchScript (.ts, .pt), ONNX."))],
    *,
    name: Annotated[str, typer.Option(help="Keep it under this name.")] = "",
    recipe: Annotated[str, typer.Option(help="Recipe that prepares its input; empty: as the model says.")] = "",
    digest: Annotated[str, typer.Option(help="sha256:... that the source must have; anything else is refused.")] = "",
    as_json: AsJson = False,
) -> None:
    """Keep a model from elsewhere; its code is never run here. Example: ailab models import ./bundle --name spleen."""
    models = open_lab().models
    found = models.import_model(source, name=name, recipe=recipe, digest=digest)
    body = {**_row(found.bundle, models.aliases(found.bundle.name)), **found.told()}
    show(body, as_json=as_json, table=lambda: lines((
        f"{found.bundle.ref} from layout {found.layout}, {found.source}",
        *(f"  checked: {one}" for one in found.checked),
        *(f"  cannot be checked: {one}" for one in found.unchecked),
    )))  # fmt: skip


@app.command()
def export(
    ref: Ref,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    *,
    release: Release = "",
    as_json: AsJson = False,
) -> None:
    """Write a model's bundle to a folder. Example: ailab models export heart-wall@1 ./out."""
    path = open_lab().models.export(ref, folder, release=release)
    show({"model": ref, "folder": str(path)}, as_json=as_json)


@app.command()
def promote(
    ref: Ref,
    alias: Annotated[str, typer.Argument(help="The alias to point at it, e.g. champion.")],
    *,
    evidence: Annotated[str, typer.Option(help="Id of the validation report that speaks for it.")],
    as_json: AsJson = False,
) -> None:
    """Point an alias at a model. Example: ailab models promote heart-wall@2 champion --evidence validate-1a2b3c4d."""
    lab = open_lab()
    bundle = lab.models.promote(ref, alias, evidence=lab.report(evidence))
    show(_row(bundle, lab.models.aliases(bundle.name)), as_json=as_json)


def _row(bundle: "Bundle", aliases: dict[str, str]) -> dict[str, Any]:
    mine = [alias for alias, digest in aliases.items() if digest == bundle.digest]
    return {"model": bundle.ref, "aliases": mine, "recipe": bundle.recipe, "digest": bundle.digest[:16]}


def _tell(bundle: "Bundle", body: dict[str, Any], card: str) -> None:
    from ailab_kernel.models.card import card as readme

    own = bundle.file(_README).decode() if _README in bundle.body["files"] else ""
    if own and own != readme({"name": bundle.name, **bundle.metadata}):     # ours says nothing that the card does not
        line(own)
    line(card)
    line(f"{bundle.ref}  sha256 {bundle.digest}")
    for move in body["history"]:
        line(f"  @{move['alias']} -> {move['digest'][:12]}  {move['moved_at']}  {move['reason']}")
