"""A report that was run: a folder with notebook, page, figures, manifest and seal."""

import fcntl
import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import NotFound, SealBroken
from ailab_kernel.ground.ids import sha256_file
from ailab_kernel.models.evidence import Evidence

from .notebook import CASES, METRICS

if TYPE_CHECKING:
    from IPython.display import HTML

MANIFEST, SEAL, STATE = "manifest.json", "manifest.sig", "state.json"
NOTEBOOK, PAGE, PAPER, LOCK = "notebook.ipynb", "report.html", "report.pdf", "lock"
KILLED = "it was killed before its end; the same command goes on from its finished cases"


@dataclass(frozen=True)
class Report:
    """One run of a report template.

    Attributes
    ----------
    id
        Template and eight hex digits of what it was made from.
    folder
        Its files.
    """

    id: str
    folder: Path = field(repr=False)

    @property
    def state(self) -> str:
        """``done``, ``failed`` or ``running``; one whose process was killed has failed."""
        return "failed" if self._killed else self._state.get("state", "failed")

    @property
    def reason(self) -> str:
        """Why it failed."""
        return KILLED if self._killed else self._state.get("reason", "")

    @property
    def title(self) -> str:
        """What its template is called."""
        return str(self._state.get("title", ""))

    @property
    def ended(self) -> str:
        """When it came to its end, UTC, ISO 8601; of a running one, when it began."""
        return str(self._state.get("at", ""))

    @property
    def html(self) -> Path:
        """The page: one self-contained file."""
        return self.folder / PAGE

    @property
    def pdf(self) -> Path | None:
        """The page as a PDF, where its template makes one."""
        path = self.folder / PAPER
        return path if path.is_file() else None

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """The figures that a replay must reproduce."""
        return _json(self.folder / METRICS)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What it was made from, with what, how long it took."""
        return _json(self.folder / MANIFEST)

    def evidence(self) -> Evidence:
        """Return what speaks for the validated model: the sealed manifest. Only a validation report says anything.

        Raises
        ------
        NotFound
            The report was never finished.
        SealBroken
            A file was changed since it was sealed.
        """
        path, seal, figures = (self.folder / name for name in (MANIFEST, SEAL, METRICS))
        if not path.is_file() or not seal.is_file():
            msg = f"report {self.id} was never finished: it has no sealed manifest; run it again"
            raise NotFound(msg)
        edited = changed_files(self)
        if edited:
            msg = f"report {self.id} was edited after it was sealed: {edited[0]}; run it again"
            raise SealBroken(msg)
        told = figures.read_bytes() if figures.is_file() else b""
        return Evidence(self.id, path.read_bytes(), seal.read_text(), told)

    def show(self) -> "HTML":
        """Show the page in a notebook cell."""
        from IPython.display import HTML

        page = html.escape(self.html.read_text(encoding="utf8"))
        frame = f'<iframe srcdoc="{page}" sandbox="" style="width:100%;height:70vh;border:1px solid #8884"></iframe>'
        return HTML(f"<div>{frame}</div>")     # IPython warns of a bare one, which has no srcdoc elsewhere

    @property
    def _killed(self) -> bool:
        return self._state.get("state") == "running" and not locked(self.folder)

    @cached_property
    def _state(self) -> Mapping[str, Any]:
        return _json(self.folder / STATE)

    def _repr_html_(self) -> str:
        figures = [(key, value) for key, value in self.metrics.items() if isinstance(value, int | float | str)]
        cells = [(html.escape(key), html.escape(str(value))) for key, value in figures]
        rows = "".join(f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in cells)
        told = f": {html.escape(self.reason)}" if self.reason else ""
        return f"<p><b>{html.escape(self.id)}</b> {self.state}{told}</p><table>{rows}</table>"


def locked(folder: Path) -> bool:
    """Whether a process is running the report in this folder: the system drops the lock of one that was killed."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def reports_folder(home: Path) -> Path:
    """Folder of a lab's reports."""
    return home / "reports"


def get_report(home: Path, report_id: str) -> Report:
    """Return a report by its id; NotFound with the nearest ids otherwise."""
    import difflib

    known = {report.id: report for report in list_reports(home)}
    if report_id not in known:
        near = difflib.get_close_matches(report_id, known, n=3, cutoff=0.3)
        msg = f"there is no report {report_id!r}; near are {', '.join(near) or 'none'} (ailab report list)"
        raise NotFound(msg)
    return known[report_id]


def list_reports(home: Path) -> tuple[Report, ...]:
    """Return every report of the lab, newest first."""
    states = sorted(reports_folder(home).glob(f"*/{STATE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return tuple(Report(path.parent.name, path.parent) for path in states)


def sealed_files(folder: Path) -> dict[str, str]:
    """Return the digests of the files that a manifest covers, by path in the folder."""
    cases = sorted((folder / CASES).glob("*.json"))
    files = [folder / NOTEBOOK, folder / PAGE, folder / PAPER, folder / METRICS, *cases]
    return {str(path.relative_to(folder)): sha256_file(path) for path in files if path.is_file()}


def verify(report: Report, *, verify_signature: Callable[[bytes, str], bool]) -> tuple[str, ...]:
    """Return what is wrong with a report's own files: its seal, and every file that changed; empty when all is intact.

    Parameters
    ----------
    report
        The report.
    verify_signature
        ``catalog.verify``.
    """
    path, seal = report.folder / MANIFEST, report.folder / SEAL
    if not path.is_file() or not seal.is_file():
        return (f"{report.id} has no sealed manifest: it is {report.state}",)
    findings = []
    if not verify_signature(path.read_bytes(), seal.read_text()):
        findings.append(f"{MANIFEST} does not bear this lab's seal")
    return (*findings, *changed_files(report))


def changed_files(report: Report) -> tuple[str, ...]:
    """Return which of a sealed report's files are no longer those that its manifest names, one line each."""
    expected, found = report.manifest.get("files", {}), sealed_files(report.folder)
    told = {name: "is missing" if name not in found else "changed" if name in expected else "was added"
            for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)}  # fmt: skip
    return tuple(f"{name} {what}" for name, what in told.items())


def _json(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
