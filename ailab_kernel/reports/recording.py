"""A report of a lab: run with its keys and its guard, and entered into its ledger."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.surroundings import lock_text

from .exits import guard_of
from .report import MANIFEST, Report
from .run import run_report

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace


def recorded(
    workspace: "Workspace", name: str, parameters: Mapping[str, Any], *, resolved: Mapping[str, str] | None = None
) -> Report:
    """Run a report and enter it into the ledger; see `run.run_report`.

    Parameters
    ----------
    workspace
        Whose keys seal it, whose identifiers it is searched for, whose ledger it goes into.
    name, parameters
        A template, and its parameters by name.
    resolved
        Digests of what the references among them mean now, by role.
    """
    inputs, catalog = dict(resolved or {}), workspace.catalog
    report = run_report(
        workspace.home, name, parameters, resolved=inputs, seal=catalog.sign, environment=workspace.environment(),
        verify_signature=catalog.verify, guard=guard_of(catalog),
    )  # fmt: skip
    catalog.put(lock_text())                   # its digest is in the manifest: the environment can be rebuilt
    body = {"id": report.id, "manifest": catalog.put(report.folder / MANIFEST)}
    catalog.append("report", body, name=name, parents=[digest for digest in inputs.values() if digest])
    return report
