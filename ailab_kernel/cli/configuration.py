"""``ailab config``: which settings hold here, and whether they can be understood."""

import typer

from ailab_kernel.ground.errors import AilabError

from .show import AsJson, line, show

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
    tried = {"settings": lambda: str(workspace.home), "catalog": lambda: _roles(workspace.catalog.roles_enforced),
             "archive": lambda: f"{len(workspace.archive.search_studies())} studies in {workspace.archive.url}"}  # fmt: skip
    findings = [_try(what, act) for what, act in tried.items()]
    show(findings, as_json=as_json, table=lambda: [line(f"{f['part']}: {f['finding']}") for f in findings])
    if not all(finding["ok"] for finding in findings):
        raise typer.Exit(1)


def _try(what: str, act) -> dict[str, object]:  # noqa: ANN001 - a function of nothing
    try:
        return {"part": what, "ok": True, "finding": act()}
    except AilabError as error:
        return {"part": what, "ok": False, "finding": str(error)}


def _roles(enforced: bool) -> str:
    return "open; roles are enforced" if enforced else "open; one-user pilot: roles are not enforced"
