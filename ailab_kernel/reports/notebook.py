"""What a report notebook holds: its run, with cases that are kept as they are finished.

By hand (no ``AILAB_RUN_DIR``) the same notebook works on a temporary folder.
"""

import html
import json
import math
import os
import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ailab_kernel.ground.errors import AilabError
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.progress import say, track
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.work.compute import map_cases

Item = TypeVar("Item")
FOLDER = "AILAB_RUN_DIR"
METRICS, NOTES, CASES = "metrics.json", "notes.json", "cases"


class Run:
    """The run that a notebook belongs to."""

    def __init__(self, folder: Path, *, compute: str) -> None:
        self.folder = folder
        self._compute = compute
        self._metrics: dict[str, Any] = {}
        self._notes: dict[str, Any] = {"uses": {}}

    def cases(
        self, items: Sequence[Item], func: Callable[[Item], Mapping[str, Any]], *, key: Callable[[Item], str], what: str
    ) -> list[Mapping[str, Any]]:
        """Work through cases and return their results in the items' order.

        Each finished case is written down at once; a run that is killed and started again goes on with the rest. A
        case that raises an AilabError becomes ``{"key": ..., "failed": reason}`` and the others go on.

        Parameters
        ----------
        items
            The cases.
        func
            Module-level function (or partial) from a case to plain JSON values.
        key
            The case's stable name.
        what
            For the progress line, e.g. ``cases scored``.
        """
        kept = {key(item): self._kept(key(item)) for item in items}
        todo = [item for item in items if kept[key(item)] is None]
        if len(todo) < len(items):
            say(f"  {len(items) - len(todo)} of {len(items)} {what} before; going on with {len(todo)}")
        kept.update(self._work(todo, func, key, what))
        return [kept[key(item)] or {} for item in items]

    def _work(
        self, todo: Sequence[Item], func: Callable[[Item], Mapping[str, Any]], key: Callable[[Item], str], what: str
    ) -> Any:
        """Yield (name, result) of each case; a progress line counts them as they come."""
        names = [key(item) for item in todo]
        ticks = iter(track(range(len(todo)), what=what))

        def _done(number: int, result: Mapping[str, Any]) -> None:
            self._keep(names[number], result)
            next(ticks, None)

        outcomes = map_cases(func, list(todo), compute=self._compute, done=_done) if todo else []
        next(ticks, None)
        for name, outcome in zip(names, outcomes, strict=True):
            failed = isinstance(outcome, AilabError)
            yield name, {"key": name, "failed": str(outcome)} if failed else self._kept(name)

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Write figures that a replay must reproduce exactly (no times)."""
        self._metrics.update(values)
        figures = json.dumps(_plain(self._metrics), indent=1, sort_keys=True)
        atomic_write(self.folder / METRICS, figures.encode() + b"\n")

    def note(self, name: str, value: Any) -> None:
        """Write a figure for the manifest that may differ from run to run (times, say)."""
        self._notes[name] = value
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        atomic_write(self.folder / NOTES, canonical_json({**self._notes, "peak_memory_mb": round(peak)}))

    def uses(self, role: str, ref: str, digest: str) -> None:
        """Record what the run was made from, or made: role (``model``, ``dataset`` ...), reference and digest."""
        self.note("uses", {**self._notes["uses"], role: {"ref": ref, "digest": digest}})

    def _place(self, name: str) -> Path:
        return self.folder / CASES / f"{sha256(name.encode())[:24]}.json"

    def _keep(self, name: str, result: Mapping[str, Any]) -> None:
        atomic_write(self._place(name), canonical_json({"key": name, "result": _plain(result)}))

    def _kept(self, name: str) -> Mapping[str, Any] | None:
        path = self._place(name)
        return json.loads(path.read_bytes())["result"] if path.is_file() else None


def this_run() -> Run:
    """Return the run that this notebook belongs to."""
    from ailab_kernel.ground.settings import load_settings

    folder = os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="ailab-run-")
    return Run(Path(folder), compute=load_settings().compute)


class Table:
    """A table as a report shows it."""

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._head, self._rows = head, rows

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in self._head)
        rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self._rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def __repr__(self) -> str:
        return f"table of {len(self._rows)} rows"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table that a notebook displays; every cell is escaped."""
    return Table(head, rows)


def _plain(value: Any) -> Any:
    """Plain JSON: NumPy's numbers become Python's, and what is no number (NaN, infinite) becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    return f"<td>{html.escape(str(value))}</td>"
