"""``ailab task``: who reads which case, and how far each is."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import open_lab
from .show import AsJson, line, rows, show
from .verbs import tell

if TYPE_CHECKING:
    from ailab_kernel.annotation.task import Task

app = typer.Typer(help="Annotation tasks, case by case. Example: ailab task list", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(help="NAME or NAME@VERSION of a task.")]
Number = Annotated[int, typer.Argument(help="The case, from 1, as in ailab task show.")]
Reviewer = Annotated[str, typer.Option(help="Login of who reviews; behind the hub your own.")]


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List annotation tasks. Example: ailab task list."""
    from ailab_kernel.annotation.task import list_tasks

    show([_summary(task) for task in list_tasks(open_lab().workspace)], as_json=as_json)


@app.command("show")
def show_command(ref: Ref, as_json: AsJson = False) -> None:
    """Show every case: state, readers, active minutes. Example: ailab task show heart-wall@1."""
    from ailab_kernel.annotation.reading.shown import PILOT
    from ailab_kernel.annotation.reading.shown import rows as cases

    task = open_lab().task(ref)
    found = cases(task)

    def _table() -> None:
        rows(found)
        if task.roster.double and not task.workspace.catalog.roles_enforced:
            line(PILOT)

    show({**_summary(task), "cases": found}, as_json=as_json, table=_table)


@app.command()
def assign(
    ref: Ref,
    case: Number,
    *,
    reader: Annotated[str, typer.Option(help="Login of who is to read it.")],
    as_json: AsJson = False,
) -> None:
    """Give a case to a reader. Example: ailab task assign heart-wall@1 3 --reader ann."""
    task, uid = _case(ref, case)
    _told(task.assign(uid, reader=reader), uid, as_json=as_json)


@app.command()
def accept(ref: Ref, case: Number, *, reviewer: Reviewer, as_json: AsJson = False) -> None:
    """Accept what was handed in. Example: ailab task accept heart-wall@1 3 --reviewer cleo."""
    task, uid = _case(ref, case)
    _told(task.accept(uid, reviewer=reviewer), uid, as_json=as_json)


@app.command("return")
def return_command(
    ref: Ref,
    case: Number,
    *,
    reviewer: Reviewer,
    reason: Annotated[str, typer.Option(help="What is to be mended.")],
    as_json: AsJson = False,
) -> None:
    """Return a case to its readers. Example: ailab task return heart-wall@1 3 --reviewer cleo --reason apex."""
    task, uid = _case(ref, case)
    _told(task.give_back(uid, reviewer=reviewer, reason=reason), uid, as_json=as_json)


@app.command()
def agreement(
    ref: Ref, *, seed: Annotated[int, typer.Option(help="Of the intervals.")] = 7, as_json: AsJson = False
) -> None:
    """Compare the blind readings of a task in a report. Example: ailab task agreement heart-wall@1."""
    tell(open_lab().agreement(ref, seed=seed), as_json)


def _case(ref: str, number: int) -> tuple["Task", str]:
    task = open_lab().task(ref)
    if not 1 <= number <= len(task.series_uids):
        msg = f"case {number}: task {task.ref} has the cases 1 to {len(task.series_uids)} (ailab task show {task.ref})"
        raise WrongUse(msg)
    return task, task.series_uids[number - 1]


def _told(task: "Task", uid: str, *, as_json: bool) -> None:
    body = {"task": task.ref, "case": task.series_uids.index(uid) + 1, "state": task.state(uid)}
    show(body, as_json=as_json, table=lambda: line(f"case {body['case']} of {task.ref} is {body['state']}"))


def _summary(task: "Task") -> dict[str, Any]:
    states = [task.state(uid) for uid in task.series_uids]
    return {"task": task.ref, "readers": len(task.roster.readers), "cases": len(states),
            "submitted": states.count("submitted"), "accepted": states.count("accepted"),
            "made": task.record.made_at[:10]}  # fmt: skip
