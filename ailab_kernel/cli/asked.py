"""Options that several commands share, and how a search is put together from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ailab_kernel.archives.found import Studies
    from ailab_kernel.ground.catalog import Catalog
    from ailab_kernel.lab import Lab

Modality = Annotated[str, typer.Option(help="Modality, e.g. CT.")]
Description = Annotated[str, typer.Option(help="Study description; * and ? are wildcards.")]
Date = Annotated[str, typer.Option(help="A date, a range 20260101-20261231, or today.")]
Study = Annotated[str, typer.Option(help="Study Instance UID.")]
Limit = Annotated[int, typer.Option(help="Take at most this many studies; 0 takes all.", min=0)]


def open_lab(home: Path | None = None, *, archive: str | None = None) -> "Lab":
    """Open the lab whose settings hold here."""
    from ailab_kernel.lab import open_lab as opened

    return opened(home=home, archive=archive)


def catalog_here() -> "Catalog | None":
    """Return the catalog of the lab whose settings hold here; None where there is no lab yet, which is not made."""
    from ailab_kernel.workspace import open_workspace

    workspace = open_workspace()
    told = workspace.settings
    known = told.service or told.catalog or (workspace.home / "catalog.sqlite").is_file()
    return workspace.catalog if known else None


def search(lab: "Lab", limit: int = 0, **words: str) -> "Studies":
    """Studies of the lab's archive that match the words which were given."""
    found = lab.archive.search_studies(**{word: value for word, value in words.items() if value})
    return type(found)(found[:limit]) if limit else found
