"""``ailab``: the lab's verbs in a terminal.

A traceback never reaches the person: a deliberate error is one line; anything else is one line too, and its
traceback goes to a log file.
"""

import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer

from ailab_kernel.ground.errors import AilabError

from . import (
    acceptance,
    adapter,
    archive,
    audit,
    configuration,
    convert,
    datasets,
    deidentify,
    demo,
    doctor,
    exits,
    hub,
    jobs,
    models,
    phantoms,
    reidentify,
    report,
    seg,
    size,
    tasks,
    verbs,
)
from .asked import catalog_here

app = typer.Typer(
    name="ailab",
    help="AI-LAB: a study from the PACS through annotate, train, validate and infer, and back. Example: ailab demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, family in (
    ("archive", archive), ("models", models), ("datasets", datasets), ("report", report), ("jobs", jobs),
    ("phantoms", phantoms), ("seg", seg), ("config", configuration), ("hub", hub),
    ("exits", exits), ("audit", audit), ("task", tasks), ("adapter", adapter),
):  # fmt: skip
    app.add_typer(family.app, name=name)
models.app.command()(acceptance.criteria)
models.app.command()(acceptance.approve)
models.app.command()(acceptance.revoke)
for command in (verbs.annotate, verbs.train, verbs.validate, verbs.infer, convert.convert, size.size, demo.demo,
                deidentify.deidentify, reidentify.reidentify, doctor.doctor):  # fmt: skip
    app.command()(command)


def main() -> NoReturn:
    """Run the command line and exit 0 done, 1 failed, 2 wrong use."""
    try:
        app()
    except AilabError as error:
        sys.stderr.write(f"ailab: {_without_identifiers(str(error))}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("ailab: stopped; the same command goes on where it stopped\n")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the person gets one line
        sys.stderr.write(f"ailab: internal error ({type(error).__name__}); details in {_log(error)}\n")
        sys.exit(1)
    sys.exit(0)


def _log(error: Exception) -> Path:
    """Write the traceback, readable by its owner only: it may hold what no screen should show."""
    folder = Path(os.environ.get("AILAB_HOME", "lab")) / "log"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"error-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(_without_identifiers("".join(traceback.format_exception(error))))
    return path


def _without_identifiers(text: str) -> str:
    """Take out what the lab knows to identify somebody, as far as a lab can be asked: an error ends here anyway."""
    from ailab_kernel.privacy.exits import redacted

    try:
        catalog = catalog_here()
        return redacted(catalog, text) if catalog else text
    except (AilabError, OSError):
        return text
