"""The house rules, as tests: small modules and functions, everything public documented and typed, light doors."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "ailab_kernel"
GENERATED = {f"recipes/{name}.py" for name in ("brain_tissue", "enlarged_heart", "heart_wall", "lung_lesions", "lungs", "_modidx")}
MODULES = sorted(p for p in HOUSE.rglob("*.py") if str(p.relative_to(HOUSE)) not in GENERATED)
TOP_LEVEL = {"notebooks", "ailab_kernel", "hub_config", "extensions", "tests", "environment.yml", "README.md"}
HEAVY = ("torch", "monai", "openvino", "matplotlib", "papermill", "highdicom")
LIGHT_ROOMS = ("ground.catalog", "ground.remote_catalog", "ground.settings", "service.app", "work", "fleet", "dicom", "archives", "workspace", "lab", "cli.main")


def modules(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def functions(tree: ast.Module):
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", MODULES, ids=modules)
def test_module_keeps_the_house_rules(path):
    text = path.read_text(encoding="utf8")
    tree = ast.parse(text)
    faults = [] if len(text.splitlines()) <= 400 else [f"{len(text.splitlines())} lines"]
    if text.strip() and ast.get_docstring(tree) is None:
        faults.append("no docstring")
    for node in functions(tree):
        faults += [f"{node.name}: {fault}" for fault in function_faults(node)]
    assert not faults, f"{path.relative_to(ROOT)}: {faults}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py" and "def __getattr__" in path.read_text()],
                         ids=modules)
def test_no_door_has_the_name_of_a_module(path):
    """Once a module was imported it stands in its room under its own name, before any door of that name."""
    room = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
    assert room.__all__
    assert not set(room.__all__) & {one.stem for one in path.parent.iterdir()}


def function_faults(node):
    faults = []
    if node.end_lineno - node.lineno >= 60:
        faults.append("over 60 lines")
    if node.name.startswith("_"):
        return faults
    args = [a for a in [*node.args.posonlyargs, *node.args.args] if a.arg not in {"self", "cls"}]
    if ast.get_docstring(node) is None and not overridden(node):
        faults.append("no docstring")
    if node.returns is None or not all(a.annotation for a in [*args, *node.args.kwonlyargs]):
        faults.append("not typed")
    if len(args) > 3:
        faults.append(f"{len(args)} positional arguments")
    return faults


def overridden(node):
    return any(isinstance(d, ast.Name) and d.id == "override" for d in node.decorator_list)


@pytest.mark.parametrize("path", MODULES, ids=modules)
def test_errors_are_told_and_named(path):
    """No bare or broad except outside the terminal's door, the job loop and the widget's door; no raise of a bare class."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.ExceptHandler) and modules(path) not in {"cli/main.py", "work/jobs.py", "annotation/widget.py"}:
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            broad = [k for k in kinds if k is None or (isinstance(k, ast.Name) and k.id in {"Exception", "BaseException"})]
            assert not broad, f"{path}:{node.lineno} catches everything"
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id[0].isupper():
            assert node.exc.id in {"NotImplementedError"}, f"{path}:{node.lineno} raises {node.exc.id} without a message"


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_light_room_loads_nothing_heavy(room):
    code = f"import sys, ailab_kernel.{room}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_top_level_is_the_designs():
    assert {path.name for path in ROOT.iterdir()} >= TOP_LEVEL


def test_tests_mirror_the_rooms():
    rooms = {path.name for path in HOUSE.iterdir() if path.is_dir() and any(path.glob("*.py"))} - {"__pycache__"}
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir()}


def names(requirements) -> set[str]:
    return {re.split(r"[\[=<>;@ ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in requirements}


def test_lock_environment_and_project_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[A-Za-z0-9_.!]+", line) for line in lock), "a lock pins plain versions"
    extras = project["optional-dependencies"]
    wanted = names([*project["dependencies"], *(r for extra in ("hub", "dimse", "postgres", "slurm", "dev") for r in extras[extra])])
    assert wanted <= names(lock)
    pinned = {r for r in project["dependencies"] if "==" in r}
    assert pinned <= set(lock)
    assert "itkwidgets" not in names(lock), "it loads code from CDNs and cannot live beside jupyterhub"
    conda = (ROOT / "environment.yml").read_text()
    assert "python=3.11" in conda
    assert "-r requirements.lock" in conda


def test_no_path_of_a_machine_is_in_the_repo():
    words = re.compile(r"(?<![\w}])/(?:work|root|home)/\w|/tmp/bash|farm-studio|farm-bench")
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\n")
    texts = [ROOT / name for name in tracked if Path(name).suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".json", ""}]
    found = [str(p.relative_to(ROOT)) for p in texts if p.is_file() and p != Path(__file__) and words.search(p.read_text())]
    assert not found
