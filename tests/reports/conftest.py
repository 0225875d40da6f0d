"""Reports run for real: a kernel of its own each, in a home of the test's."""

from functools import partial

import pytest

from ailab_kernel.reports import run_report

from .work import NOTEBOOKS, ROOT


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    return {"AILAB_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def run(tmp_path, environment):
    """``run(name, parameters)`` with an unsigned seal."""
    return partial(_run, tmp_path, environment)


def _run(home, environment, name, parameters=None, *, resolved=None):
    return run_report(home, name, parameters or {}, resolved=resolved or {}, seal=lambda _: "sealed",
                      environment=environment, templates=NOTEBOOKS)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One finished report for tests that only look at it; they put back what they change."""
    home = tmp_path_factory.mktemp("made")
    environment = {"AILAB_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return _run(home, environment, "cases", {"folder": str(home)}, resolved={"model": "0" * 64})
