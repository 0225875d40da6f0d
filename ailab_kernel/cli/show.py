"""What a command prints: a table for people, or ``--json`` for programs."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show(value: Any, *, as_json: bool, table: Callable[[], None] | None = None) -> None:
    """Print ``value`` as JSON, or let ``table`` print it for a person (default: its rows)."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")
    elif table:
        table()
    else:
        rows(value if isinstance(value, Sequence) and not isinstance(value, str) else [value])


def rows(values: Sequence[Mapping[str, Any]], *, empty: str = "nothing found") -> None:
    """Print mappings with the same keys as aligned columns; the first row's keys are the heads."""
    if not values:
        line(empty)
        return
    heads = list(values[0])
    cells = [heads, *[[_text(value[head]) for head in heads] for value in values]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def line(text: str) -> None:
    """Print one line of result."""
    sys.stdout.write(text + "\n")


def lines(texts: Sequence[str]) -> None:
    """Print several lines of result."""
    for text in texts:
        line(text)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
