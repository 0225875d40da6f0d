"""What stands between a report and whoever reads it: nothing that identifies a patient is shown, sealed or exported."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import ReportError
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import Chunk, chunks, values

from .report import MANIFEST, SEAL, Report, sealed_files, verify

if TYPE_CHECKING:
    from ailab_kernel.ground.catalog import Catalog

Guard = Callable[[str, Mapping[str, Any]], object]


def open_exit(what: str, parts: Mapping[str, Any]) -> None:
    """Let everything pass: a report outside any lab, which knows no patient."""


def guard_of(catalog: "Catalog") -> Guard:
    """Return the guard of a lab: it takes what leaves, and its parts by name: files by path, or plain JSON values.

    It raises ExitBlocked where a part holds what identifies.
    """
    return lambda what, parts: check(catalog, _read(parts), what=what)


def export_report(catalog: "Catalog", report: Report, folder: Path, *, release: str = "") -> Path:
    """Copy a finished report's sealed files to a new folder and return it.

    Parameters
    ----------
    catalog
        The trusted side.
    report
        A report whose seal holds.
    folder
        Where to; created, must be empty.
    release
        Why it may leave although it holds what identifies; by role, and written down.

    Raises
    ------
    ReportError
        It is not finished, or was changed; or the folder is not empty.
    ExitBlocked
        It holds what identifies, and no reason was given.
    """
    wrong = verify(report, verify_signature=catalog.verify)
    if wrong or (folder.exists() and any(folder.iterdir())):
        msg = f"report {report.id} is not exported: {wrong[0] if wrong else 'the folder is not empty; give a new one'}"
        raise ReportError(msg)
    names = [MANIFEST, SEAL, *sealed_files(report.folder)]
    check(catalog, _read({name: report.folder / name for name in names}), what=f"report {report.id}", reason=release)
    catalog.audit("export", kind="report", report=report.id)
    for name in names:
        atomic_write(folder / name, (report.folder / name).read_bytes())
    return folder


def copy_out(catalog: "Catalog", paths: list[Path], folder: Path) -> None:
    """Copy files and folders that were checked to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy2(path, folder / path.name)
    catalog.audit("export", kind="file", files=str(len(paths)))


def _read(parts: Mapping[str, Any]) -> Iterator[Chunk]:
    for name, part in parts.items():
        yield from chunks(part.read_bytes(), name) if isinstance(part, Path) else values(part, name)
