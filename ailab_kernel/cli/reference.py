"""Write ``docs/cli.md`` and ``docs/settings.md`` from the program itself, so that they cannot fall behind.

``python -m ailab_kernel.cli.reference docs``
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

_INTRO = "Written by `make docs` from the program; a test compares. Exit codes: 0 done, 1 failed, 2 wrong use."


def cli_page() -> str:
    """Return the reference of every command, one heading each."""
    from .main import app

    parts = ["# The command line", _INTRO]
    for path, command in commands(typer.main.get_command(app), "ailab"):
        usage = " ".join([path, *command.collect_usage_pieces(command.make_context(path, [], resilient_parsing=True))])
        parts += [f"## {path}", (command.help or "").strip(), f"```\n{usage}\n```", *_options(command)]
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """Return the reference of every setting, one heading each."""
    from ailab_kernel.ground.settings import FILE, PREFIX, Settings

    parts = ["# Settings", f"{_INTRO.split(';')[0]}. Defaults, then `{FILE}`, then `{PREFIX}*` variables."]
    for key, field in Settings.model_fields.items():
        default = str(field.default) or "(empty)"
        parts += [f"## {key}", str(field.description), f"`{PREFIX}{key.upper()}`; default `{default}`."]
    return "\n\n".join(parts) + "\n"


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with the words that call it."""
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command


def _options(command: Any) -> list[str]:
    told = [(", ".join(param.opts), param.help) for param in command.params if getattr(param, "help", None)]
    return ["\n".join(f"- `{name}`: {text}" for name, text in told)] if told else []


def main(folder: Path) -> None:
    """Write both pages into ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "cli.md").write_text(cli_page(), encoding="utf8")
    (folder / "settings.md").write_text(settings_page(), encoding="utf8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
