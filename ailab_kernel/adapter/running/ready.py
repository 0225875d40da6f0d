"""Whether a plan can be served here: every file and secret that it names is opened once, before it is needed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ailab_kernel.adapter.rules import Plan, read_plan
from ailab_kernel.adapter.telling import check as check_place
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.ground.errors import SettingsError


def check(path: Path) -> Plan:
    """Read a plan, open what it refers to, and return it.

    Raises
    ------
    SettingsError
        The first thing that is wrong, with its place in the plan.
    """
    plan = read_plan(path)
    secured = [tls for tls in (plan.tls, plan.web and plan.web.tls) if tls]
    steps: list[tuple[str, Callable[[], object]]] = [(tls.where, tls.context) for tls in secured]
    steps += [("web", plan.web.tokens)] if plan.web else []
    steps += [("web", plan.web.hub.secret)] if plan.web and plan.web.hub else []
    steps += [("context", plan.context.check)] if plan.context else []
    steps += [(f"destination {one.name}", partial(check_place if one.tells else open_archive, one.url))
              for one in plan.destinations]  # fmt: skip
    for where, opens in steps:
        try:
            opens()
        except SettingsError as error:
            msg = f"{path.name}: {where}: {error}"
            raise SettingsError(msg) from None
    return plan
