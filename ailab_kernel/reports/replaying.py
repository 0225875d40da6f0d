"""Run a report again from its record, without its kept cases: identical, or what differs."""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import ReportError

from .library import template
from .report import Report
from .run import perform, surroundings

_SURROUNDINGS = {"code": "AI-LAB's code", "lock": "the lock", "versions": "library versions", "machine": "the machine"}


@dataclass(frozen=True)
class Replay:
    """How a replay compares with its original.

    Attributes
    ----------
    report
        The replay's own report.
    identical
        Whether every metric is exactly the same.
    differences
        One line each: what differs, and what in the surroundings may be the cause.
    """

    report: Report
    identical: bool
    differences: tuple[str, ...]

    def _repr_html_(self) -> str:
        told = "identical" if self.identical else "<br>".join(html.escape(line) for line in self.differences)
        return f"<p><b>{html.escape(self.report.id)}</b>: {told}</p>"


def replay(
    original: Report,
    *,
    environment: Mapping[str, str],
    verify_inputs: Callable[[Mapping[str, str]], None],
    templates: Path | None = None,
) -> Replay:
    """Execute a report again and compare its metrics.

    Parameters
    ----------
    original
        A report that is done.
    environment
        ``AILAB_*`` variables that open the lab.
    verify_inputs
        Raises when a model or dataset among the resolved digests is no longer what it was.
    templates
        Folder of templates other than the product's.

    Raises
    ------
    ReportError
        The original was never finished.
    """
    told = original.manifest
    if original.state != "done" or not told:
        msg = f"report {original.id} is {original.state}: only a finished report can be replayed"
        raise ReportError(msg)
    verify_inputs(told["resolved"])
    wanted = template(told["template"], folder=templates)
    number = len(list(original.folder.glob("replays/*"))) + 1
    folder = original.folder / "replays" / str(number)
    folder.mkdir(parents=True)
    again = perform(Report(f"{original.id}-replay-{number}", folder), wanted, told["parameters"],
                    resolved=told["resolved"], seal=lambda _: "", environment=environment)  # fmt: skip
    differences = [f"metrics.{line}" for line in compare(original.metrics, again.metrics)]
    causes = _causes(told, wanted.digest) if differences else []
    return Replay(again, not differences, (*differences, *causes))


def compare(before: Any, after: Any, *, at: str = "") -> list[str]:
    """Return one line for each place where two JSON values differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({*before, *after})
        return [line for key in keys for line in compare(before.get(key), after.get(key), at=f"{at}.{key}".strip("."))]
    both_nan = before != before and after != after
    return [] if before == after or both_nan else [f"{at}: {before} before, {after} now"]


def _causes(told: Mapping[str, Any], template_digest: str) -> list[str]:
    now = surroundings()
    found = [f"possible cause: {text} changed" for key, text in _SURROUNDINGS.items() if now[key] != told[key]]
    return [*found, *(["possible cause: the template changed"] if template_digest != told["template_digest"] else [])]
