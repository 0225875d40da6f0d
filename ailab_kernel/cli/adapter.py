"""``ailab adapter``: what the PACS sends is received, worked on by rule, and its results go back."""

import signal
import sys
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ailab_kernel.ground.errors import NotFound

from .asked import open_lab
from .show import AsJson, line, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ailab_kernel.adapter.ledger import Delivery, Work
    from ailab_kernel.adapter.rules import Judgement
    from ailab_kernel.adapter.running import Adapter

app = typer.Typer(help="Receive studies from a PACS. Example: ailab adapter serve", no_args_is_help=True)
PlanFile = Annotated[Path, typer.Option("--plan", help="Who may send, and the rules: docs/adapter.md.")]
_PLAN = Path("adapter.toml")


@app.command()
def serve(
    *, plan: PlanFile = _PLAN, workers: Annotated[int, typer.Option(help="Processes that work on studies.")] = 1,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Receive, run and deliver until it is told to end (Ctrl+C). Example: ailab adapter serve --plan adapter.toml."""
    from ailab_kernel.adapter.running import Adapter

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    workspace = open_lab().workspace
    with Adapter(workspace, plan, workers=workers) as adapter:
        ours, (host, _) = adapter.plan.callers, adapter.plan.listen
        workspace.catalog.audit("adapter.started", ae=ours.called)
        told = {"ae": ours.called, "host": host, "port": adapter.port, "tls": adapter.plan.tls is not None,
                "callers": len(ours.known), "web": _web_address(adapter)}  # fmt: skip
        show(told, as_json=as_json, table=lambda: _tell(told))
        sys.stdout.flush()
        ended.wait()
    workspace.catalog.audit("adapter.ended", ae=ours.called)


@app.command()
def status(*, state: Annotated[str, typer.Option(help="In this state only.")] = "", as_json: AsJson = False) -> None:
    """List the work on every study: queued, running, delivering, done, failed or held, and why.

    Example: ailab adapter status --state failed.
    """
    from ailab_kernel.adapter.ledger import Outbox, Worklist
    from ailab_kernel.adapter.place import ledger_of

    with ledger_of(open_lab().workspace) as ledger:
        found, outbox = Worklist(ledger).all(**({"state": state} if state else {})), Outbox(ledger)
        show([_work_row(one, outbox.all(work=one.id)) for one in found], as_json=as_json)


@app.command()
def again(
    work: Annotated[str, typer.Argument(help="Id of work that failed or is held.")], *, plan: PlanFile = _PLAN,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Do once more what failed or is held: the run, or what was not delivered. Example: ailab adapter again ID."""
    from ailab_kernel.adapter.place import ledger_of
    from ailab_kernel.adapter.running import again as once_more

    workspace = open_lab().workspace
    with ledger_of(workspace) as ledger:
        show(_stands(once_more(workspace, ledger, work, plan=plan)), as_json=as_json)


@app.command()
def hold(
    work: Annotated[str, typer.Argument(help="Id of work that is not over.")],
    *, reason: Annotated[str, typer.Option(help="Why; it is shown and must name nobody.")],
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take work out until somebody says again. Example: ailab adapter hold ID --reason 'wrong protocol'."""
    from ailab_kernel.adapter.ledger import Worklist
    from ailab_kernel.adapter.place import ledger_of

    with ledger_of(open_lab().workspace) as ledger:
        show(_stands(Worklist(ledger).move(work, "held", reason=reason)), as_json=as_json)


@app.command()
def received(*, study: Annotated[str, typer.Option(help="Of this study only.")] = "", as_json: AsJson = False) -> None:
    """List what was received, by study. Example: ailab adapter received."""
    from ailab_kernel.adapter.place import ledger_of

    with ledger_of(open_lab().workspace) as ledger:
        found = ledger.by_study(**({"study_uid": study} if study else {}))
    show([_row(one) for one in found], as_json=as_json)


@app.command()
def check(*, plan: PlanFile = _PLAN, as_json: AsJson = False) -> None:
    """Read the plan, open the files and secrets that it names, and say what it means; exit 2 names a mistake.

    Example: ailab adapter check.
    """
    from ailab_kernel.adapter.running import check as checked

    told = checked(plan)
    rows = [{"rule": one.name, "when": [str(test) for test in one.when], "series": [str(test) for test in one.series],
             "run": one.run, "send": list(one.send)} for one in told.rules]  # fmt: skip
    show(rows, as_json=as_json)


@app.command()
def explain(
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.")], *, plan: PlanFile = _PLAN, as_json: AsJson = False
) -> None:
    """Say for a study which rule fires, and why. Example: ailab adapter explain 1.2.840.113619.2.5.1762583153."""
    from ailab_kernel.adapter.place import inbox_of
    from ailab_kernel.adapter.rules import facts_of, judge, read_plan

    told = read_plan(plan)
    with inbox_of(open_lab().workspace) as inbox:
        facts = facts_of(inbox, study)
    if facts is None:
        msg = f"nothing of study {study} was received; see ailab adapter received"
        raise NotFound(msg)
    found = [judge(rule, facts, now=time.time()) for rule in told.rules]
    show([asdict(one) | {"fits": one.fits} for one in found], as_json=as_json, table=lambda: _explained(found))


def _explained(found: "list[Judgement]") -> None:
    for one in found:
        state = "fires" if one.whole else f"will fire when the study is whole: look again in {one.wait_s:.0f} s"
        line(f"{one.rule}: {state if one.fits else 'does not fire'}")
        for reason in one.reasons:
            line(f"  {'yes' if reason.met else 'no '}  {reason.words}")
        for uid in one.series if one.fits else ():
            line(f"  on series {uid}")


def _row(one: "Mapping[str, Any]") -> dict[str, Any]:
    return {
        "study": one["study_uid"] or "(not understood)", "series": one["series"],
        "instances": one["kept"] + one["conflict"] + one["aside"], "conflicts": one["conflict"], "aside": one["aside"],
        "newest": _clock(one["last_at"]),
    }  # fmt: skip


def _web_address(adapter: "Adapter") -> str:
    door = adapter.plan.web
    return f"{'https' if door.tls else 'http'}://{door.host}:{adapter.web_port}/" if door else ""


def _tell(told: "Mapping[str, Any]") -> None:
    safely = " over TLS" if told["tls"] else ""
    line(f"{told['ae']} receives at {told['host']}:{told['port']}{safely}; {told['callers']} callers may send")
    if told["web"]:
        line(f"STOW-RS, requests for inference, metrics and the live page: {told['web']}")


def _stands(one: "Work") -> dict[str, Any]:
    return {"work": one.id, "state": one.state, "reason": one.reason}


def _work_row(one: "Work", parcels: "list[Delivery]") -> dict[str, Any]:
    confirmed = sum(parcel.state == "confirmed" for parcel in parcels)
    return {
        "work": one.id, "study": one.study_uid, "rule": one.rule or "-", "state": one.state,
        "delivered": f"{confirmed} of {len(parcels)}", "changed": _clock(one.changed_at), "reason": one.reason,
    }  # fmt: skip


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
