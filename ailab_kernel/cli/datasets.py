"""``ailab datasets``: frozen dataset versions."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import open_lab
from .exits import Release
from .show import AsJson, show

if TYPE_CHECKING:
    from ailab_kernel.datasets.dataset import DatasetVersion

app = typer.Typer(help="Freeze and list datasets. Example: ailab datasets list", no_args_is_help=True)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List dataset versions. Example: ailab datasets list."""
    show([_row(dataset) for dataset in open_lab().datasets.all()], as_json=as_json)


@app.command("show")
def show_command(
    ref: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")], as_json: AsJson = False
) -> None:
    """List the cases of a dataset version. Example: ailab datasets show heart-wall@1."""
    dataset = open_lab().datasets.get(ref)
    cases = [{"case": one.id, "patient": one.patient, "split": one.split, "image": one.image[:12],
              "truth": one.truth[:12], "series": one.series_uid} for one in dataset.cases]  # fmt: skip
    show({**_row(dataset), "cases": cases} if as_json else cases, as_json=as_json)


@app.command()
def freeze(
    name: Annotated[str, typer.Argument(help="Kebab-case name; the version is counted for you.")],
    *,
    task: Annotated[str, typer.Option(help="Annotation task whose accepted cases are frozen.")],
    split: Annotated[str, typer.Option(help="Shares of train, tune and test, drawn by patient.")] = "0.7,0.15,0.15",
    split_file: Annotated[Path | None, typer.Option(help="CSV with the columns series,split instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Freeze accepted annotations. Example: ailab datasets freeze heart-wall --task heart-wall@1."""
    lab = open_lab()
    parts = _split_table(split_file) if split_file else _shares(split)
    show(_row(lab.datasets.freeze(name, lab.task(task).accepted(), split=parts)), as_json=as_json)


@app.command()
def export(
    ref: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    *,
    release: Release = "",
    as_json: AsJson = False,
) -> None:
    """Write images and truths as NIfTI, with a table. Example: ailab datasets export heart-wall@1 ./out."""
    from ailab_kernel.datasets.export import export_dataset

    lab = open_lab()
    dataset = lab.datasets.get(ref)
    path = export_dataset(lab.workspace.catalog, dataset, folder, release=release)
    show({"dataset": dataset.ref, "cases": len(dataset.cases), "folder": str(path)}, as_json=as_json)


def _shares(text: str) -> Sequence[float]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        msg = f"--split {text!r}: three numbers joined by commas are expected, e.g. 0.7,0.15,0.15"
        raise WrongUse(msg) from None


def _split_table(path: Path) -> Mapping[str, str]:
    try:
        with path.open(newline="", encoding="utf8") as file:
            return {row["series"]: row["split"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError):
        msg = "--split-file cannot be read; a CSV file with the columns series,split is expected"
        raise WrongUse(msg) from None


def _row(dataset: "DatasetVersion") -> dict[str, Any]:
    counts = Counter(case.split for case in dataset.cases)
    return {"dataset": dataset.ref, "labels": [label.name for label in dataset.labels],
            "train": counts["train"], "tune": counts["tune"], "test": counts["test"],
            "digest": dataset.digest[:16]}  # fmt: skip
