"""A task as people see it: a row a case, with its state and who reads it."""

import html
from typing import TYPE_CHECKING, Any

from .rules import READS

if TYPE_CHECKING:
    from ailab_kernel.annotation.task import Task

PILOT = "One-user pilot: the readings are kept apart by the desk only; blindness is held where the hub's service runs."


def rows(task: "Task") -> list[dict[str, Any]]:
    """Return a row a case: its number from 1, series, state, readers with their own states, active minutes."""
    return [_row(task, number, uid) for number, uid in enumerate(task.series_uids, 1)]


def _row(task: "Task", number: int, uid: str) -> dict[str, Any]:
    steps, roster = task.steps(uid), task.roster
    own = {reader: task.state(uid, reader=reader) for reader in roster.readers} if roster.double else {}
    taken = [step.reader for step in steps if step.state in READS or step.state == "assigned"]
    who = [f"{reader} {state}" for reader, state in own.items()] or taken[-1:] or list(roster.readers)
    seconds = {step.reader: step.seconds for step in steps if step.state == "submitted"}
    return {"case": number, "series": uid, "state": task.state(uid) or "untouched", "readers": ", ".join(who),
            "minutes": round(sum(seconds.values()) / 60, 1)}  # fmt: skip


def table(task: "Task") -> str:
    """Return the worklist as HTML."""
    found = rows(task)
    states = [row["state"] for row in found]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    title = f"Task {task.ref}: {task.recipe.title} on {len(found)} series ({counts})"
    cells = "".join(f"<tr>{''.join(f'<td>{html.escape(str(value))}</td>' for value in row.values())}</tr>"
                    for row in found)  # fmt: skip
    head = "".join(f"<th>{name}</th>" for name in found[0])
    pilot = task.roster.double and not task.workspace.catalog.roles_enforced
    note = f'<p class="note">{PILOT}</p>' if pilot else ""
    return f"<p><b>{html.escape(title)}</b></p><table><tr>{head}</tr>{cells}</table>{note}"
