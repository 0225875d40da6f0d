"""``ailab audit``: is the trail whole, and out with it to those who keep logs."""

import json
import socket
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import open_lab
from .show import AsJson, line, lines, show

app = typer.Typer(help="Check, export and forward the audit trail. Example: ailab audit verify", no_args_is_help=True)
_PAUSE_S = 2.0
_FORMATS = ("xml", "jsonl")
Source = Annotated[str, typer.Option(help="What this system is called in messages; empty: the machine's name.")]


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Find every line that was edited, added, moved or cut off. Example: ailab audit verify."""
    found = _trusted().audit_findings()
    show({"intact": not found, "findings": found}, as_json=as_json,
         table=lambda: lines(found or ("the audit trail is as it was written",)))  # fmt: skip
    if found:
        raise typer.Exit(1)


@app.command()
def export(
    *,
    form: Annotated[str, typer.Option("--format", help="xml: one DICOM message a line; jsonl: as chained.")] = "xml",
    after: Annotated[int, typer.Option(help="Only lines after this number.", min=0)] = 0,
    source: Source = "",
    output: Annotated[Path | None, typer.Option(help="File to write; empty: this terminal.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the trail as DICOM audit messages (PS3.15 A.5) or JSON lines. Example: ailab audit export --after 100."""
    if form not in _FORMATS:
        msg = f"--format {form!r}: one of {', '.join(_FORMATS)} is expected"
        raise WrongUse(msg)
    catalog = _trusted()
    trail = [one for one in catalog.audit_trail() if one["seq"] > after]
    texts = _messages(trail, source) if form == "xml" else _chained(trail, catalog.audit_anchor())
    if output:
        output.write_text("".join(f"{text}\n" for text in texts), encoding="utf8")
        show({"lines": len(trail), "file": str(output)}, as_json=as_json)
    elif as_json:
        show(trail, as_json=True)
    else:
        lines(texts)


@app.command()
def forward(
    host: Annotated[str, typer.Argument(help="The log server's name, as its certificate has it.")],
    *,
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 6514,
    ca: Annotated[Path | None, typer.Option(help="Certificates of the authority that signed its own (PEM).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Our certificate, where it asks for one (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    source: Source = "",
    follow: Annotated[bool, typer.Option(help="Go on with new lines until stopped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send new lines by syslog over TLS (RFC 5425). Example: ailab audit forward logs.hospital.example --ca ca.pem."""
    from ailab_kernel.ground.syslog import Collector

    lab, catalog = open_lab(), _trusted()
    collector, mark = Collector(host, port, ca, certificate, key), lab.home / "audit.forwarded"
    while True:
        sent = _forward(catalog, collector, mark, _named(source))
        show({"sent": sent, "to": f"{host}:{port}"}, as_json=as_json) if sent or not follow else None
        if not follow:
            return
        time.sleep(_PAUSE_S)


@app.command()
def accept(
    reason: Annotated[str, typer.Argument(help="What the findings came from; stands in the trail.")],
    as_json: AsJson = False,
) -> None:
    """Sign the trail as it stands, after its findings were looked into. Example: ailab audit accept 'restored'."""
    catalog = _trusted()
    if not hasattr(catalog, "accept_trail"):
        msg = "the trail is accepted where it lies: run this as the service's user, without AILAB_SERVICE"
        raise WrongUse(msg)
    catalog.accept_trail(reason)
    show({"findings": catalog.audit_findings()}, as_json=as_json,
         table=lambda: line("the trail is signed as it stands"))  # fmt: skip


def _forward(catalog: Any, collector: Any, mark: Path, source: str) -> int:
    """Send what was not sent there yet; the number of the last line is kept beside the lab."""
    from ailab_kernel.ground.store import atomic_write

    place = f"{collector.host}:{collector.port}"
    marks = json.loads(mark.read_text()) if mark.is_file() else {}
    trail = [one for one in catalog.audit_trail() if one["seq"] > marks.get(place, 0)]
    if trail:
        marks[place] = collector.send(trail, source=source)
        atomic_write(mark, json.dumps(marks).encode())
    return len(trail)


def _messages(trail: list[dict[str, Any]], source: str) -> list[str]:
    from ailab_kernel.ground.audit_messages import message

    return [message(one, source=_named(source)).decode() for one in trail]


def _chained(trail: list[dict[str, Any]], anchor: dict[str, Any]) -> list[str]:
    told = [{**one, "detail": json.loads(one["detail"])} for one in trail]
    return [json.dumps(one, sort_keys=True, ensure_ascii=False) for one in (*told, {"anchor": anchor})]


def _named(source: str) -> str:
    return source or socket.gethostname()


def _trusted() -> Any:
    """The lab's catalog, which has its trail; behind the hub it asks the service, which asks for the role."""
    return open_lab().workspace.catalog
