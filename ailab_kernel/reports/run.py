"""Run a report: check parameters, execute in a fresh kernel, render, seal. The same command finds the same folder.

A report ends done or failed with the reason. One that was killed is marked so when it is next asked for, keeps its
finished cases and goes on from them.
"""

import fcntl
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from ailab_kernel.ground.activity import busy
from ailab_kernel.ground.errors import ExitBlocked, ReportError, ReportFailed
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.progress import VARIABLE as PROGRESS
from ailab_kernel.ground.progress import say
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.ground.surroundings import code_digest, surroundings

from .exits import Guard, open_exit
from .kernel import kernel_manager
from .library import Template, check, template
from .notebook import CASES, FOLDER, METRICS, NOTES
from .report import (
    KILLED,
    LOCK,
    MANIFEST,
    NOTEBOOK,
    PAGE,
    PAPER,
    SEAL,
    STATE,
    Report,
    reports_folder,
    sealed_files,
    verify,
)

# Sockets in files that only this user can open: TCP ports of a shared host are everybody's.
_KERNEL = {"KernelManager": {"transport": "ipc"}}
# Idle threads wait asleep: on a shared machine two reports that spin for each other take ten times as long.
_KERNEL_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_WAIT_POLICY": "PASSIVE"}
LOG = "progress.log"
_BANNER = "papermill-error-cell-tag"
_ECHO_S = 0.2
_START_S = 120


def run_report(
    home: Path,
    name: str,
    parameters: Mapping[str, Any],
    *,
    resolved: Mapping[str, str],
    seal: Callable[[bytes], str],
    environment: Mapping[str, str],
    templates: Path | None = None,
    verify_signature: Callable[[bytes, str], bool] = lambda *_: True,
    guard: Guard = open_exit,
) -> Report:
    """Run a report, or return it when it was run before.

    Parameters
    ----------
    home, name, parameters
        The lab's folder, a template, and its parameters by name.
    resolved
        Digests of what the references among them mean now, by role.
    seal
        Signs the manifest (``catalog.sign``).
    environment
        ``AILAB_*`` variables that open the lab in the notebook.
    templates
        Folder of templates other than the product's.
    verify_signature
        ``catalog.verify``: a report that does not bear the lab's seal is made anew, not returned.
    guard
        Raises ExitBlocked where a file holds what identifies a patient (`exits.guard_of`).

    Raises
    ------
    ParameterError, ExitBlocked
        Wrong parameters, or one that identifies a patient: nothing was run. ExitBlocked also of a page that would.
    ReportError
        Another process is running this very report.
    ReportFailed
        The notebook ended with an error; finished cases are kept for the next try.
    """
    wanted = template(name, folder=templates)
    values = check(wanted, parameters)
    guard(f"report {wanted.name}", {"parameters": values})
    called = report_id(wanted, values, resolved)
    report = Report(called, reports_folder(home) / called)
    report.folder.mkdir(parents=True, exist_ok=True)
    with _alone(report):
        if report.state == "done":
            changed = verify(report, verify_signature=verify_signature)
            if not changed:
                say(f"  report {report.id} was made before; its page: {report.html}")
                return report
            say(f"  report {report.id} was made before but {changed[0]}; it is made anew")
            shutil.rmtree(report.folder / CASES, ignore_errors=True)
        elif report.state == "running":
            say(f"  report {report.id}: {KILLED}")
        fresh = Report(report.id, report.folder)
        return perform(fresh, wanted, values, resolved=resolved, seal=seal, environment=environment, guard=guard)


def report_id(wanted: Template, values: Mapping[str, Any], resolved: Mapping[str, str]) -> str:
    """Return the id of a report: equal inputs, equal id."""
    made_from = {"template": wanted.digest, "parameters": values, "resolved": resolved, "code": code_digest()}
    return f"{wanted.name}-{sha256(canonical_json(made_from))[:8]}"


def perform(
    report: Report,
    wanted: Template,
    values: Mapping[str, Any],
    *,
    resolved: Mapping[str, str],
    seal: Callable[[bytes], str],
    environment: Mapping[str, str],
    guard: Guard = open_exit,
) -> Report:
    """Execute a report in its folder, render it, search it, seal it and return it."""
    from .render import render

    started, clock = datetime.now(UTC), time.monotonic()
    for name in (MANIFEST, SEAL, METRICS, NOTES, PAPER):
        (report.folder / name).unlink(missing_ok=True)
    _set_state(report, "running", title=wanted.title)
    with busy("report", f"report {wanted.name} is running"):  # an idle culler leaves this server alone
        reason = _execute(report.folder, wanted, values, environment)
    manifest = _manifest(report, wanted, values, resolved=resolved, reason=reason, environment=environment)
    manifest |= {"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 1)}
    if (report.folder / NOTEBOOK).is_file():
        if reason:
            _quiet(report.folder / NOTEBOOK)
        render(report.folder / NOTEBOOK, manifest, on_paper=wanted.on_paper)
    parts = {name: report.folder / name for name in _shown(report.folder)}
    try:
        guard(f"report {report.id}", {**parts, "manifest": manifest})
    except ExitBlocked as error:
        _withdraw(report)
        _set_state(report, "failed", str(error), title=wanted.title)
        raise
    if reason:
        _set_state(report, "failed", reason, title=wanted.title)
        msg = f"report {report.id} failed: {reason}; finished cases are kept, the same command goes on"
        raise ReportFailed(msg)
    data = json.dumps({**manifest, "files": sealed_files(report.folder)}, indent=1, sort_keys=True).encode() + b"\n"
    atomic_write(report.folder / MANIFEST, data)
    atomic_write(report.folder / SEAL, seal(data).encode())
    _set_state(report, "done", title=wanted.title)
    return Report(report.id, report.folder)


def _manifest(
    report: Report, wanted: Template, values: Mapping[str, Any], *, resolved: Mapping[str, str], reason: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    notes = json.loads((report.folder / NOTES).read_bytes()) if (report.folder / NOTES).is_file() else {}
    return {
        "id": report.id, "template": wanted.name, "template_digest": wanted.digest, "title": wanted.title,
        "parameters": values, "resolved": dict(resolved), "notes": notes, "state": "failed" if reason else "done",
        "reason": reason, "seed": values.get("seed"), "device": environment.get("AILAB_DEVICE", "auto"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"), **surroundings(),
    }  # fmt: skip


def _shown(folder: Path) -> list[str]:
    """Files of a report that are shown, sealed or kept; the lock and the state are this module's own."""
    return sorted(str(path.relative_to(folder)) for path in (
        *(folder / name for name in (NOTEBOOK, PAGE, PAPER, METRICS, NOTES, LOG)), *(folder / CASES).glob("*.json"))
        if path.is_file())  # fmt: skip


def _withdraw(report: Report) -> None:
    """Take away everything that could show what was found."""
    for name in _shown(report.folder):
        (report.folder / name).unlink()


def _execute(folder: Path, wanted: Template, values: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Run the notebook in a kernel of its own and return why it failed; empty when it did not."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    log = folder / LOG
    log.write_text("", encoding="utf8")
    told = {**environment, FOLDER: str(folder), PROGRESS: str(log), **_KERNEL_ENVIRONMENT}
    try:
        with _variables(told), _echoed(log):
            execute_notebook(
                wanted.path, folder / NOTEBOOK, dict(values), kernel_name="python3", language="python",
                progress_bar=False, start_timeout=_START_S, cwd=folder, config=Config(_KERNEL),
                kernel_manager_class=kernel_manager(),
            )  # fmt: skip
    except PapermillExecutionError as error:
        return _first_line(error)
    except (DeadKernelError, CellExecutionError):
        return "its kernel was killed (out of memory?); start it again, or give the server more memory"
    except RuntimeError:
        return "its kernel did not start (too little memory?); start it again, or give the server more memory"
    return ""


def _quiet(notebook: Path) -> None:
    """Take tracebacks out of a failed notebook: they quote values, and a value may be a patient's."""
    book = json.loads(notebook.read_text(encoding="utf8"))
    book["cells"] = [cell for cell in book["cells"] if _BANNER not in cell["metadata"].get("tags", ())]
    for output in (output for cell in book["cells"] for output in cell.get("outputs", ())):
        if output["output_type"] == "error":
            own = output["ename"] in _our_errors()
            output["evalue"] = output["evalue"] if own else "(taken out; run the notebook by hand to see it)"
            output["traceback"] = [f"{output['ename']}: {output['evalue']}"]
    book["metadata"].get("papermill", {}).pop("exception", None)
    atomic_write(notebook, json.dumps(book, indent=1).encode())


def _first_line(error: Any) -> str:
    """Where and why, without values that could be a patient's: our own errors speak, others are only named."""
    own = error.ename in _our_errors()
    return f"cell {error.exec_count}: {error.evalue if own else error.ename + ' (an error in the program)'}"


@cache
def _our_errors() -> frozenset[str]:
    from ailab_kernel.ground import errors

    return frozenset(name for name, kind in vars(errors).items() if isinstance(kind, type))


def _set_state(report: Report, state: str, reason: str = "", *, title: str) -> None:
    told = {"state": state, "reason": reason, "title": title, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    atomic_write(report.folder / STATE, canonical_json(told))
    report.__dict__.pop("_state", None)


@contextmanager
def _alone(report: Report) -> Iterator[None]:
    """Hold the report's lock; the system lets go of it when this process dies."""
    with (report.folder / LOCK).open("w") as file:
        try:
            _hold(file)
        except BlockingIOError:
            msg = f"report {report.id} is being run by another process; wait for it, or stop that one"
            raise ReportError(msg) from None
        yield


def _hold(file: Any) -> None:
    """Take the lock, at the second try if somebody was only asking whether it is held (`report.locked`)."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_ECHO_S)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _variables(told: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the kernel that is started meanwhile."""
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _echoed(log: Path) -> Iterator[None]:
    """Repeat the notebook's progress lines on this terminal while it runs."""
    over = threading.Event()

    def _follow() -> None:
        with log.open(encoding="utf8") as lines:
            while True:
                ending = over.wait(_ECHO_S)
                for line in lines.read().splitlines():
                    sys.stderr.write(line + "\n")
                if ending:
                    return

    follower = threading.Thread(target=_follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
