"""The documents follow the program: every command and setting has its heading, and nothing has fallen behind."""

import re
from pathlib import Path

import typer

from ailab_kernel.cli.main import app
from ailab_kernel.cli.reference import cli_page, commands, settings_page
from ailab_kernel.ground.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def headings(path: Path) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE))


def test_every_command_has_its_heading_help_and_example():
    found = dict(commands(typer.main.get_command(app), "ailab"))
    assert len(found) > 20
    assert set(found) <= headings(DOCS / "cli.md")
    for path, command in found.items():
        assert f"Example: {path}" in command.help, f"{path} needs an example in its help"
        assert any("--json" in param.opts for param in command.params), f"{path} needs --json"


def test_every_setting_has_its_heading():
    assert set(Settings.model_fields) <= headings(DOCS / "settings.md")


def test_the_reference_is_the_programs_own():
    assert (DOCS / "cli.md").read_text() == cli_page(), "run make docs"
    assert (DOCS / "settings.md").read_text() == settings_page(), "run make docs"


def test_every_make_target_has_its_line_in_the_readme():
    targets = set(re.findall(r"^(demo|test|check|bench|battery|hub|docs):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "bench", "battery", "hub", "docs"} == targets
    readme = (ROOT / "README.md").read_text()
    assert all(f"| `make {target}` |" in readme for target in targets)


def test_links_in_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
