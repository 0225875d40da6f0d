"""``ailab jobs``: reports that run later, one worker at a time, and survive a kill."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import open_lab
from .show import AsJson, show

if TYPE_CHECKING:
    from ailab_kernel.work.jobs import Job

app = typer.Typer(help="Queue reports and work them off. Example: ailab jobs list", no_args_is_help=True)


@app.command()
def submit(
    verb: Annotated[str, typer.Argument(help="train or validate.")],
    arguments: Annotated[str, typer.Argument(help="The verb's arguments as JSON.")],
    as_json: AsJson = False,
) -> None:
    """Queue a report. Example: ailab jobs submit train '{"dataset": "heart-wall@1", "base": "heart-wall@general"}'."""
    lab = open_lab()
    try:
        given = json.loads(arguments)
    except ValueError:
        msg = "ARGUMENTS is no JSON; write an object such as '{\"dataset\": \"heart-wall@1\"}'"
        raise WrongUse(msg) from None
    job = lab.jobs.submit("report", {"home": str(lab.home), "verb": verb, "arguments": given})
    show({"job": job}, as_json=as_json)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List jobs: queued, running, done, failed or held, with the reason. Example: ailab jobs list."""
    show([_row(job) for job in open_lab().jobs.all()], as_json=as_json)


@app.command()
def work(as_json: AsJson = False) -> None:
    """Work off the queue until it is empty. Example: ailab jobs work."""
    jobs = open_lab().jobs
    jobs.work(until_empty=True)
    show([_row(job) for job in jobs.all()], as_json=as_json)


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="Job id.")], as_json: AsJson = False) -> None:
    """Take a job out of the queue; it ends as held. Example: ailab jobs cancel ID."""
    jobs = open_lab().jobs
    jobs.cancel(job)
    show(_row(jobs.get(job)), as_json=as_json)


def _row(job: "Job") -> dict[str, Any]:
    return {"job": job.id, "kind": job.kind, "state": job.state, "reason": job.reason}
