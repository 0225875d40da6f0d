"""The health notebook by papermill, as a person or `ailab hub check` runs it."""

import json
import os
import time
from pathlib import Path

import pytest
from papermill import execute_notebook
from papermill.exceptions import PapermillExecutionError

from tests.clean_notebooks import dirty

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "_health.ipynb"


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AILAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AILAB_HOME", str(tmp_path / "lab"))
    # In a server of the hub it runs in a kernel that is there already; TCP on a shared host warns.
    return lambda **given: execute_notebook(NOTEBOOK, tmp_path / "out.ipynb", given, cwd=tmp_path, progress_bar=False,
                                            kernel_name="python3", config=_ipc())


def _ipc():
    from traitlets.config import Config

    return Config({"KernelManager": {"transport": "ipc"}})


def test_it_is_clean():
    assert not dirty(NOTEBOOK)


def test_it_says_what_a_server_was_given(run, monkeypatch):
    monkeypatch.setenv("AILAB_TIER", "pilot")
    began = time.monotonic()
    book = run(tier="pilot")
    assert time.monotonic() - began < 20
    found = json.loads(book.cells[-1].outputs[0].text)
    assert (found["tier"], found["volume"], found["object"]) == ("pilot", [24, 48, 48], "written, read, verified")
    assert found["network"].startswith("heart-wall@1 on torch")
    assert found["cores"] == len(os.sched_getaffinity(0))


def test_another_tier_than_the_one_asked_for_fails(run, monkeypatch):
    monkeypatch.setenv("AILAB_TIER", "pilot")
    with pytest.raises(PapermillExecutionError, match="tier large was asked for, this server is of tier pilot"):
        run(tier="large", model="")
