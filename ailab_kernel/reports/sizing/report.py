"""Reports on the machine and the site: what it does, how large it must be. Run, and entered into the ledger."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ailab_kernel.fleet.sizing import Answers
from ailab_kernel.reports.recording import recorded
from ailab_kernel.reports.report import Report, list_reports

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

MEASURE, SIZING = "measure", "sizing"
QUICK: Mapping[str, Any] = {"studies": 2, "size": [30, 64, 64], "epochs": 1}


@dataclass(frozen=True)
class Measurement:
    """What the newest full measurement here says of inference.

    Attributes
    ----------
    report
        Its id.
    seconds
        Processing time of one study, s.
    """

    report: str
    seconds: float


def measure(workspace: "Workspace", *, quick: bool = False) -> Report:
    """Measure the four workflows on this machine; each measurement is a report of its own.

    Parameters
    ----------
    workspace
        Where the report goes; the phantoms lie in a lab of their own, which is removed.
    quick
        Small phantoms: it shows that everything runs, and no class by time.
    """
    taken = datetime.now(UTC).isoformat(timespec="microseconds")
    return recorded(workspace, MEASURE, {"taken": taken, **(QUICK if quick else {})})


def size_report(workspace: "Workspace", answers: Answers) -> Report:
    """Make the sizing of a site a report; equal answers and the same measurement give the same one."""
    found = last_measurement(workspace)
    known = {"seconds_per_study": found.seconds, "measured_by": found.report} if found else {}
    return recorded(workspace, SIZING, {**asdict(answers), **known})


def last_measurement(workspace: "Workspace") -> Measurement | None:
    """Return what the newest measurement with phantoms of a CT's size says; None where there is none."""
    for report in list_reports(workspace.home):
        notes = report.manifest.get("notes", {}).get("measured", {}) if report.id.startswith(f"{MEASURE}-") else {}
        if report.state == "done" and notes.get("full_size"):
            rows = [row for row in notes["rows"] if row["workflow"] == "Infer"]
            return Measurement(report.id, round(float(rows[0]["seconds"]), 3)) if rows else None
    return None
