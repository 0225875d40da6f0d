"""Every role's landing page runs as it stands, on phantoms."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from ailab_kernel.fleet.profiles import ROLES
from tests.clean_notebooks import dirty

PAGES = Path(__file__).parents[2] / "notebooks" / "start"


def test_there_is_one_a_role_and_it_is_clean():
    assert {path.stem for path in PAGES.glob("*.ipynb")} == set(ROLES)
    assert not [path for path in PAGES.glob("*.ipynb") if dirty(path)]


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_it_runs_as_it_stands(role, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AILAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AILAB_HOME", str(tmp_path / "lab"))
    book = nbformat.read(PAGES / f"{role}.ipynb", as_version=4)
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.get("execution_count") for cell in book.cells if cell.cell_type == "code")
