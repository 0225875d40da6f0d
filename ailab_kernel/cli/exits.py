"""``ailab exits``: whether what is about to leave holds an identifier that the lab knows."""

from pathlib import Path
from typing import Annotated

import typer

from .asked import open_lab
from .show import AsJson, lines, show

app = typer.Typer(help="Search what is about to leave. Example: ailab exits check study.ipynb", no_args_is_help=True)
Paths = Annotated[list[Path], typer.Argument(help="Files and folders of any kind.")]
Release = Annotated[str, typer.Option(help="Why it may leave although it holds what identifies; by role, recorded.")]


@app.command()
def check(paths: Paths, as_json: AsJson = False) -> None:
    """Name every place with a known identifier, never its value. Example: ailab exits check study.ipynb figures."""
    from ailab_kernel.privacy.exits import search_files

    places = search_files(open_lab().workspace.catalog, paths)
    show({"clean": not places, "places": places}, as_json=as_json,
         table=lambda: lines(places or ("no identifier that the lab knows was found",)))  # fmt: skip
    if places:
        raise typer.Exit(1)


@app.command()
def export(
    paths: Paths,
    *,
    to: Annotated[Path, typer.Option(help="Folder to copy them to.")],
    release: Release = "",
    as_json: AsJson = False,
) -> None:
    """Copy files out if nothing identifies a patient. Example: ailab exits export study.ipynb --to /media/stick."""
    from ailab_kernel.privacy.exits import check_files
    from ailab_kernel.reports.exits import copy_out

    catalog = open_lab().workspace.catalog
    released = check_files(catalog, paths, what=f"{len(paths)} file(s)", reason=release)
    copy_out(catalog, paths, to)
    show({"copied": len(paths), "to": str(to), "released": len(released)}, as_json=as_json)
