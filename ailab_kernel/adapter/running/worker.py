"""One piece of work: the study's files in a folder archive of its own, a model or report on it, results to the outbox.

What may take a process down (a decoder, a model, a report) runs in a child. A repeat finds what is there already: the
folder, the inference's record, the results by UID.
"""

import os
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ailab_kernel.adapter.ledger import KEPT, Ledger, Outbox, Work, Worklist
from ailab_kernel.adapter.place import folder_of, inbox_of
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.rules import Plan, Priority, Rule, read_plan
from ailab_kernel.ground.errors import ChildDied, JobError, NotFound
from ailab_kernel.work.child import Child, Limits
from ailab_kernel.work.jobs import Jobs
from ailab_kernel.workspace import Workspace, open_workspace

KIND = "adapter"
TRIES = 3
PRIORITIES: Mapping[Priority, int] = {"urgent": 1, "normal": 10, "off-peak": 100}
_FIRST_WAIT_S = 1.0
_PERFORM = "ailab_kernel.adapter.running.perform:perform"


def jobs_of(workspace: Workspace) -> Jobs:
    """Return the lab's queue, as far as it is the adapter's."""
    return Jobs(workspace.jobs_url, kinds={KIND: "ailab_kernel.adapter.running.worker:run_work"})


def submit(workspace: Workspace, plan: Path, work: Work) -> None:
    """Queue a piece of work; the same piece queued again is the same job, unless it was sent back by a person."""
    payload = {"home": str(workspace.home), "plan": str(plan.absolute()), "work": work.id}
    priority = next((PRIORITIES[one.priority] for one in read_plan(plan).rules if one.name == work.rule), 0)
    jobs_of(workspace).submit(KIND, payload, key=f"{work.id} {work.told.get('round', 0)}", priority=priority)


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
        worklist.move(work.id, "running")
        try:
            rule = _rule(plan, work)
            folder = _study_folder(workspace, inbox, work)
            done = _performed(workspace, rule, work, folder)
        except (JobError, NotFound) as error:
            worklist.move(work.id, "failed", reason=str(error))
            raise
        return _finish(inbox.ledger, work, rule, done)


def _rule(plan: Plan, work: Work) -> Rule:
    found = next((one for one in plan.rules if one.name == work.rule), None)
    if found is None:
        msg = f"rule {work.rule} is no longer in the plan; put it back, or leave this work as failed"
        raise NotFound(msg)
    return found


def _study_folder(workspace: Workspace, inbox: Inbox, work: Work) -> Path:
    """A folder archive with the series that are worked on: links to what was received, no copies."""
    folder = folder_of(workspace) / "work" / work.id
    wanted = set(work.told["series"])
    for one in inbox.ledger.arrivals(study_uid=work.study_uid, state=KEPT):
        place = folder / one.study_uid / one.series_uid / f"{one.uid}.dcm"
        if one.series_uid in wanted and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(inbox.path(one.content), place)
    return folder


def _performed(workspace: Workspace, rule: Rule, work: Work, folder: Path, *, tried: int = 1) -> dict[str, Any]:
    """Run it in the child; what takes the child down is tried again, with a pause that doubles."""
    payload = {"home": str(workspace.home), "archive": f"folder:{folder}", "run": rule.run, "work": work.id,
               "parameters": dict(rule.parameters), "series": work.told["series"]}  # fmt: skip
    try:
        return _child().call(_PERFORM, payload, limits=Limits(seconds=rule.minutes * 60))
    except JobError as error:
        if tried < TRIES and isinstance(error, ChildDied):
            time.sleep(_FIRST_WAIT_S * 2 ** (tried - 1))
            return _performed(workspace, rule, work, folder, tried=tried + 1)
        msg = f"{error}; tried {tried} times" if tried > 1 else str(error)
        raise JobError(msg) from None


@cache
def _child() -> Child:
    return Child()


def _finish(ledger: Ledger, work: Work, rule: Rule, done: Mapping[str, Any]) -> dict[str, Any]:
    worklist = Worklist(ledger)
    Outbox(ledger).put(work.id, [(uid, Path(path)) for uid, path in done["objects"]], rule.send)
    state = "delivering" if rule.send and done["objects"] else "done"
    worklist.move(work.id, state, seconds=done["seconds"], report=done["report"], objects=len(done["objects"]))
    return {"state": state}
