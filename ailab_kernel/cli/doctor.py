"""``ailab doctor``: one screen that says whether this lab and its hub are well, and what to do where they are not."""

import os
from collections import Counter
from collections.abc import Mapping

import typer

from ailab_kernel.ground.errors import SettingsError

from .checks_host import CHECKS as HOST
from .checks_lab import CHECKS as LAB
from .findings import FAIL, OK, WARN, Finding, Place, examine, fail, worst
from .show import AsJson, line, show

_HUB = "http://127.0.0.1:8000"
_MACHINE = ("python", "packages", "disk", "memory", "gpu")


def doctor(as_json: AsJson = False) -> None:
    """Look at machine, lab and hub; exit 1 when something fails. Example: ailab doctor."""
    found = findings()
    state = worst(list(found.values()))
    body = {"state": state, "checks": [{"check": name, "state": one.state, "told": one.told, "next": one.next}
                                       for name, one in found.items()]}  # fmt: skip
    show(body, as_json=as_json, table=lambda: _tell(found, state))
    if state == FAIL:
        raise typer.Exit(1)


def findings() -> dict[str, Finding]:
    """Return what every check found, by name, in the screen's order."""
    from ailab_kernel.workspace import open_workspace

    try:
        workspace = open_workspace()
    except SettingsError as error:
        return {"settings": fail(str(error), "mend that line; ailab config show lists what can be set")}
    named = _hub(workspace.settings.service)
    place = Place(workspace, (named or _HUB).rstrip("/"), bool(named))
    machine, rest = ({name: check for name, check in HOST.items() if (name in _MACHINE) is first}
                     for first in (True, False))  # fmt: skip
    return examine(place, {**machine, **LAB, **rest})


def _hub(service: str) -> str:
    """Address of the hub that somebody told: by its variable, by the trusted process behind it, or by being in it."""
    inside = os.environ.get("JUPYTERHUB_API_URL", "").rpartition("/hub/api")[0]
    behind = service.partition("/services/")[0] if "/services/" in service else ""
    return os.environ.get("AILAB_HUB_URL") or behind or inside


def _tell(found: Mapping[str, Finding], state: str) -> None:
    for name, one in found.items():
        line(f"{one.state:<5} {name:<10} {one.told}")
        if one.next:
            line(f"{'':<16} → {one.next}")
    line(_summary(found, state))


def _summary(found: Mapping[str, Finding], state: str) -> str:
    if state == OK:
        return f"all well: {len(found)} checks"
    counted = Counter(one.state for one in found.values())
    counts = [f"{counted[what]} {what}" for what in (FAIL, WARN) if counted[what]]
    return f"{' and '.join(counts)} of {len(found)} checks; each arrow is the next step"
