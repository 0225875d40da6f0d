"""``ailab phantoms``: chest CT studies of nobody, for tests, lessons and demos."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.ground.progress import track

from .asked import open_lab
from .show import AsJson, show

if TYPE_CHECKING:
    from pydicom import Dataset

app = typer.Typer(help="Make phantom studies. Example: ailab phantoms make ./out --count 2", no_args_is_help=True)


@app.command()
def make(
    folder: Annotated[Path | None, typer.Argument(help="Folder for the files; none: into the archive.")] = None,
    *,
    count: Annotated[int, typer.Option(help="How many studies.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the first; each further study takes the next.")] = 1,
    style: Annotated[str, typer.Option(help="Site style: university, general-hospital, mixed.")] = "general-hospital",
    size: Annotated[str, typer.Option(help="slices,rows,columns.")] = "60,128,128",
    as_json: AsJson = False,
) -> None:
    """Make chest CT phantoms with their true SEG. Example: ailab phantoms make ./out --count 2 --seed 5."""
    from ailab_kernel.datasets.styles import STYLES

    if style not in STYLES:
        msg = f"--style {style!r}: one of {', '.join(STYLES)} is expected"
        raise WrongUse(msg)
    archive, done = open_lab().archive, []
    seeds = range(seed, seed + count)
    for number, objects in zip(seeds, made(seeds, style=style, size=_size(size)), strict=True):
        if folder:
            _save(objects, folder / f"phantom-{number}")
        else:
            archive.store(objects)
        done.append({"seed": number, "study": objects[0].StudyInstanceUID, "series": objects[0].SeriesInstanceUID})
    show(done, as_json=as_json)


def made(seeds: Sequence[int], **how: Any) -> "Iterator[list[Dataset]]":
    """Make phantoms on every core, with progress; ``how`` is that of `datasets.phantoms.make_objects`."""
    from functools import partial

    from ailab_kernel.datasets.phantoms import make_objects
    from ailab_kernel.work.processes import each

    yield from track(each(partial(make_objects, **how), seeds), what="phantoms made", total=len(seeds))


def _save(objects: "list[Dataset]", folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(objects, 1):
        ds.save_as(folder / f"{ds.Modality}{number:04d}.dcm", enforce_file_format=True)


def _size(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        msg = f"--size {text!r}: three whole numbers are expected, e.g. 60,128,128"
        raise WrongUse(msg)
    return int(parts[0]), int(parts[1]), int(parts[2])
