"""``ailab archive``: look into the image archive, put files into it, take studies out."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .asked import Date, Description, Limit, Modality, Study, open_lab, search
from .show import AsJson, line, lines, show

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.archives.archive import Archive

app = typer.Typer(help="Search and fill the image archive. Example: ailab archive search --modality CT",
                  no_args_is_help=True)  # fmt: skip
Url = Annotated[str, typer.Option("--url", help="Another archive than the lab's: folder:PATH, dicomweb+http://..., dimse://...")]


@app.command("search")
def search_command(
    *,
    modality: Modality = "",
    description: Description = "",
    date: Date = "",
    study: Study = "",
    limit: Limit = 0,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """List studies and their series. Example: ailab archive search --modality CT --description '*chest*'."""
    lab = open_lab(archive=url or None)
    words = {"modality": modality, "description": description, "date": date, "study": study}
    found = [
        {"date": one.date, "modality": series.modality, "description": one.description, "instances": series.instances,
         "series": series.uid, "study": one.uid}
        for one in search(lab, limit, **words) for series in one.series
    ]  # fmt: skip
    show(found, as_json=as_json)


@app.command()
def store(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.")],
    *,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Store DICOM files; others are set aside and named. Example: ailab archive store ./export."""
    aside: list[str] = []
    result = _archive(url).store(_datasets(paths, aside))
    refused = [*aside, *(f"{one.what}: {one.reason}" for one in result.refused)]
    body = {"stored": result.stored, "already": result.already, "refused": refused}

    def _table() -> None:
        line(f"{result.stored} stored, {result.already} already there, {len(refused)} set aside")
        for reason in refused[:20]:
            line(f"  {reason}")

    show(body, as_json=as_json, table=_table)
    if refused:
        raise typer.Exit(1)


@app.command()
def delete(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    *,
    series: Annotated[str, typer.Option(help="Only this Series Instance UID.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is deleted.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Delete a study or one series, where the archive allows it. Example: ailab archive delete 1.2.3 --yes."""
    if yes:
        _archive(url).delete(study, series)
    told = "deleted" if yes else "would be deleted; add --yes"
    show({"study": study, "series": series, "deleted": yes}, as_json=as_json, table=lambda: line(f"{study} {told}"))


@app.command()
def verify(
    url: Annotated[str, typer.Argument(help="The archive: folder:PATH, dimse://..., default: the lab's.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Send the orientation canary there and back: identical, flipped or shifted? Example: ailab archive verify."""
    from ailab_kernel.datasets.canary import run_canary

    report = run_canary(_archive(url))
    body = {
        "identical": report.identical, "notes": report.notes,
        **{name: {"verdict": str(one), "identical": one.identical, "flipped": one.flipped,
                  "transposed": one.transposed, "shift_mm": one.shift_mm, "shift_voxels": one.shift_voxels}
           for name, one in (("image", report.image), ("seg", report.seg))},
    }  # fmt: skip
    show(body, as_json=as_json, table=lambda: lines(str(report).splitlines()))
    if not report.identical:
        raise typer.Exit(1)


def _archive(url: str) -> "Archive":
    return open_lab(archive=url or None).archive


def _datasets(paths: list[Path], aside: list[str]) -> "Iterator[Dataset]":
    """Read files one by one; what is no DICOM is noted in ``aside`` by number, since names may tell a patient's."""
    from ailab_kernel.dicom.parsing import read_dataset
    from ailab_kernel.ground.errors import DicomError, NotFound

    found = (file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))))
    files = [file for file in found if file.is_file()]
    if not files:
        msg = "no files there; give DICOM files or folders that hold them"
        raise NotFound(msg)
    for number, file in enumerate(files, 1):
        try:
            yield read_dataset(file)
        except DicomError as error:
            aside.append(f"file {number} of {len(files)}: {error}")
