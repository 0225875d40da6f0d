"""One piece of work: the study's files in a folder archive of its own, a model or report on it, results to the outbox.

What may take a process down (a decoder, a model, a report) runs in a child. A repeat finds what is there already: the
folder, the inference's record, the results by UID.
"""

import atexit
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ailab_kernel.adapter.ledger import Ledger, Outbox, Work, Worklist
from ailab_kernel.adapter.place import folder_of, inbox_of
from ailab_kernel.adapter.rules import Plan, Rule, read_plan
from ailab_kernel.adapter.telling import Finding, report_of
from ailab_kernel.dicom.codes import Code
from ailab_kernel.ground.errors import ArchiveError, ChildDied, DicomError, JobError, NotFound, SettingsError
from ailab_kernel.work.child import Child, Limits
from ailab_kernel.work.jobs import Jobs
from ailab_kernel.workspace import Workspace, open_workspace

from .gathering import gathered
from .perform import INFER
from .pressing import priority_of, wait, waits_until

KIND = "adapter"
TRIES = 3
# What kills a process kills the child (`_performed`): a worker dies of something else, and its job is not to blame.
_DEATHS = 1000
_FAILS = (JobError, NotFound, ArchiveError, DicomError, SettingsError)
_FIRST_WAIT_S = 1.0
_PERFORM, _WARM = (f"ailab_kernel.adapter.working.perform:{name}" for name in ("perform", "warm"))
_WARM_S = 300.0


def jobs_of(workspace: Workspace) -> Jobs:
    """Return the lab's queue, as far as it is the adapter's."""
    return Jobs(workspace.jobs_url, kinds={KIND: "ailab_kernel.adapter.working.worker:run_work"}, tries=_DEATHS)


def submit(workspace: Workspace, plan: Path, work: Work) -> None:
    """Queue a piece of work; queued again it is the same job, unless a person or its hours had sent it back."""
    payload = {"home": str(workspace.home), "plan": str(plan.absolute()), "work": work.id}
    priority = priority_of(read_plan(plan), work)
    jobs_of(workspace).submit(KIND, payload, key=_key(work), priority=priority)


def job_of(work: Work) -> str:
    """Return the id of the job that does a piece of work."""
    return Jobs.id_of(KIND, _key(work))


def _key(work: Work) -> str:
    return f"{work.id} {work.told.get('round', 0)}" + (f" {work.told['waited']}" if "waited" in work.told else "")


def again(workspace: Workspace, ledger: Ledger, piece: str, *, plan: Path) -> Work:
    """Do once more what failed or is held, and return it as it stands then.

    What had come to results is delivered once more; else it is run once more.

    Raises
    ------
    WrongUse
        It is under way, or done.
    """
    worklist, outbox = Worklist(ledger), Outbox(ledger)
    if outbox.all(work=piece):
        outbox.again(piece)
        return worklist.move(piece, "delivering")
    work = worklist.get(piece)
    now, minutes = time.time(), _rule(read_plan(plan), work).minutes
    work = worklist.move(piece, "queued", deadline_at=now + minutes * 60, round=work.told.get("round", 0) + 1)
    submit(workspace, plan, work)
    return work


def run_work(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Do one piece of work; called by the job worker, and called again after a kill.

    Raises
    ------
    JobError
        It failed; the ledger says so too.
    """
    workspace, plan = open_workspace(home=payload["home"]), read_plan(Path(payload["plan"]))
    with inbox_of(workspace) as inbox:
        worklist = Worklist(inbox.ledger)
        work = worklist.get(payload["work"])
        if work.state not in ("queued", "running"):
            return {"state": work.state}       # held meanwhile, or a killed worker had come to the end
        now = time.time()
        if work.state == "queued" and waits_until(plan, work, now=now) > now:
            return {"state": wait(inbox.ledger, plan, work, now=now).state}      # its hours ended while it was queued
        worklist.move(work.id, "running")
        try:
            rule = _rule(plan, work)
            folder = folder_of(workspace) / "work" / work.id
            series = gathered(inbox, plan, work, rule=rule, folder=folder)
            work = worklist.move(work.id, "running", series=series)
            done = _performed(workspace, rule, work, folder)
        except _FAILS as error:
            worklist.move(work.id, "failed", reason=str(error))
            raise
        return _finish(inbox.ledger, work, plan=plan, rule=rule, done=done)


def warm(workspace: Workspace, plan: Path) -> None:
    """Let the child open what the plan's rules run, so that the first study need not wait for it.

    What cannot be opened is told when a study needs it.
    """
    models = {str(rule.parameters.get("model", "")) for rule in read_plan(plan).rules if rule.run == INFER}
    for model in sorted(models - {""}):
        with suppress(JobError):
            _child().call(_WARM, {"home": str(workspace.home), "model": model}, limits=Limits(seconds=_WARM_S))


def _rule(plan: Plan, work: Work) -> Rule:
    found = next((one for one in plan.rules if one.name == work.rule), None)
    if found is None:
        msg = f"rule {work.rule} is no longer in the plan; put it back, or leave this work as failed"
        raise NotFound(msg)
    return found


def _performed(workspace: Workspace, rule: Rule, work: Work, folder: Path, *, tried: int = 1) -> dict[str, Any]:
    """Run it in the child; what takes the child down is tried again, with a pause that doubles."""
    payload = {"home": str(workspace.home), "archive": f"folder:{folder}", "run": rule.run, "work": work.id,
               "parameters": dict(rule.parameters), "series": work.told["series"]}  # fmt: skip
    try:
        return _child().call(_PERFORM, payload, limits=Limits(rule.minutes * 60, _memory_bytes(rule)))
    except JobError as error:
        if tried < TRIES and isinstance(error, ChildDied):
            time.sleep(_FIRST_WAIT_S * 2 ** (tried - 1))
            return _performed(workspace, rule, work, folder, tried=tried + 1)
        msg = f"{error}; tried {tried} times" if tried > 1 else str(error)
        raise JobError(msg) from None


def _memory_bytes(rule: Rule) -> int:
    """What a child may use: when it eats a machine's memory, the kernel ends whom it likes."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(rule.memory_gb * (1 << 30)) or machine * 3 // 4


@cache
def _child() -> Child:
    child = Child()
    atexit.register(child.close)               # it is kept from work to work, and ends with this process
    return child


def _finish(ledger: Ledger, work: Work, *, plan: Plan, rule: Rule, done: Mapping[str, Any]) -> dict[str, Any]:
    """Put results and, for reporting systems, the report on their way."""
    names = work.told.get("send", rule.send)
    systems = {one.name for one in plan.destinations if one.tells} & set(names)
    objects, outbox = [(uid, Path(path)) for uid, path in done["objects"]], Outbox(ledger)
    outbox.put(work.id, objects, [name for name in names if name not in systems])
    if objects and systems:
        outbox.put(work.id, [_report(work, objects, done)], sorted(systems))
    state = "delivering" if names and objects else "done"
    Worklist(ledger).move(work.id, state, seconds=done["seconds"], report=done["report"], objects=len(objects))
    return {"state": state}


def _report(work: Work, objects: list[tuple[str, Path]], done: Mapping[str, Any]) -> tuple[str, Path]:
    """Write what reporting systems are told beside the results and return its UID and file."""
    header = dcmread(objects[0][1], stop_before_pixels=True)       # a result has its study's patient and numbers
    findings = [Finding(name, Code(value, scheme, meaning), volume)
                for name, value, scheme, meaning, volume in done.get("findings", ())]  # fmt: skip
    told = report_of(work.id, header, model=done.get("model", ""), when=datetime.now(UTC), findings=findings,
                     objects=[uid for uid, _ in objects])  # fmt: skip
    path = objects[0][1].parents[2] / "report.json"
    if not path.is_file():                     # after a kill it says what it said
        told.save(path)
    return told.uid, path
