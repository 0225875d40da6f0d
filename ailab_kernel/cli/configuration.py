"""``ailab config``: which settings hold here, and whether they can be understood."""

from collections.abc import Callable

import typer

from ailab_kernel.ground.errors import AilabError

from .show import AsJson, lines, show

app = typer.Typer(help="Show and check settings. Example: ailab config check", no_args_is_help=True)


@app.command("show")
def show_command(as_json: AsJson = False) -> None:
    """Show the settings that hold in this folder. Example: ailab config show."""
    from ailab_kernel.ground.settings import Settings, load_settings

    settings = load_settings()
    found = [{"setting": key, "value": str(getattr(settings, key)), "meaning": field.description}
             for key, field in Settings.model_fields.items()]  # fmt: skip
    show(found, as_json=as_json)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Read the settings, open catalog and archive, and say what is wrong. Example: ailab config check."""
    from ailab_kernel.workspace import open_workspace

    workspace = open_workspace()
    findings = [
        _try("settings", lambda: str(workspace.home)),
        _try("catalog", lambda: _roles(workspace.catalog.roles_enforced)),
        _try("archive", lambda: f"{len(workspace.archive.search_studies())} studies in {workspace.archive.url}"),
    ]
    show(findings, as_json=as_json, table=lambda: lines([f"{one['part']}: {one['finding']}" for one in findings]))
    if not all(finding["ok"] for finding in findings):
        raise typer.Exit(1)


def _try(what: str, act: Callable[[], str]) -> dict[str, object]:
    try:
        return {"part": what, "ok": True, "finding": act()}
    except AilabError as error:
        return {"part": what, "ok": False, "finding": str(error)}


def _roles(enforced: bool) -> str:
    return "open; roles are enforced" if enforced else "open; one-user pilot: roles are not enforced"
