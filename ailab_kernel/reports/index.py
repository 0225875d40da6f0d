"""The page that lists a lab's reports, with a performance table above them."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ailab_kernel.ground.store import atomic_write

from .render import page
from .report import Report, list_reports, reports_folder


def write_index(home: Path, *, table: Sequence[Mapping[str, Any]], title: str, note: str = "") -> Path:
    """Write ``reports/index.html`` and return it.

    Parameters
    ----------
    home
        The lab's folder.
    table
        Rows with the same keys; the value of a key ``report`` becomes a link.
    title, note
        Above the table.
    """
    reports = list_reports(home)
    known = {report.id for report in reports}
    body = f'<h1>{html.escape(title)}</h1><p class="note">{html.escape(note)}</p>{_table(table, known)}<h2>Reports</h2>'
    listed = [{"report": one.id, "title": one.title, "state": one.state,
               "ended (UTC)": one.ended[:16].replace("T", " "), "figures": _figures(one)}
              for one in reports]  # fmt: skip
    path = reports_folder(home) / "index.html"
    head = f'<p class="facts">{len(reports)} reports</p>'
    foot = "Every report can be verified and run again: ailab report verify ID, ailab report replay ID."
    atomic_write(path, page(title, head=head, body=body + _table(listed, known), foot=foot).encode())
    return path


def _table(rows: Sequence[Mapping[str, Any]], known: set[str]) -> str:
    if not rows:
        return "<p>None yet.</p>"
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    lines = "".join(f"<tr>{''.join(_cell(key, value, known) for key, value in row.items())}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(key: str, value: Any, known: set[str]) -> str:
    text = html.escape(str(value))
    if key == "report" and value in known:
        return f'<td><a href="{text}/report.html">{text}</a></td>'
    return f'<td class="state {text}">{text}</td>' if key == "state" else f"<td>{text}</td>"


def _figures(report: Report) -> str:
    figures = {key: value for key, value in report.metrics.items() if isinstance(value, int | float | str)}
    short = {key: f"{value:.3f}" if isinstance(value, float) else str(value)[:24] for key, value in figures.items()}
    return ", ".join(f"{key} {value}" for key, value in short.items())
