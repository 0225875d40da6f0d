"""The notebook is the truth: exported again it gives the module, and its examples hold."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "notebooks" / "library"
NOTEBOOKS = sorted(LIBRARY.glob("*.ipynb"))
SHARED = {"guidance"}                                       # no task, but what several share


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def test_every_recipe_has_its_notebook():
    from ailab_kernel.recipes.recipe import CLASSIFIERS, RECIPES

    recipes = (name.replace("-", "_") for name in (*RECIPES, *CLASSIFIERS))
    assert [path.stem for path in NOTEBOOKS] == sorted({*recipes, *SHARED})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_module_is_what_the_notebook_exports(path, tmp_path, monkeypatch):
    from nbdev.export import nb_export

    # The exported file names its notebook by a relative path, so the copy lies as the original does.
    copy = tmp_path / "notebooks" / "library" / path.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(path.read_bytes())
    out = tmp_path / "ailab_kernel" / "recipes"
    out.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    nb_export(copy, lib_path=out)
    assert (out / f"{path.stem}.py").read_text() == (ROOT / "ailab_kernel/recipes" / f"{path.stem}.py").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_clean(path):
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(path, "code"))
    assert len(cells(path, "markdown")) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs_and_its_examples_hold(path):
    space: dict = {}
    for cell in cells(path, "code"):
        exec(compile(source(cell), f"{path.name}", "exec"), space)
    assert "assert" in "".join(source(cell) for cell in cells(path, "code"))
    assert path.stem in SHARED or space["RECIPE"].name == path.stem.replace("_", "-")
