"""Whatever was made before, made again: a report by its id, a SEG by its UID, here or in the environment of then."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.reports.report import Report, get_report

from .documents import replay
from .outcome import Replay

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def run_again(
    workspace: "Workspace",
    what: Report | str,
    *,
    verify_inputs: Callable[[Mapping[str, str]], None],
    engine: str = "",
    rebuild: bool = False,
    code: Path | None = None,
    allow: Sequence[str] = (),
) -> Replay:
    """Run a report, or the inference that made a SEG, again from its record.

    Parameters
    ----------
    workspace
        The lab.
    what
        A report, its id, or the SOP Instance UID (0008,0018) of a SEG.
    verify_inputs
        Of `replay`.
    engine
        Of `replay_seg`.
    rebuild
        Whether to run it in the environment that its record names, rebuilt from the lock (`replay_elsewhere`).
    code, allow
        Of `replay_elsewhere`.
    """
    seg = str(what) if isinstance(what, str) and _UID.fullmatch(what) else ""
    if (engine and not seg) or ((code or allow) and not rebuild):
        msg = "an engine is chosen for a SEG only, and code= and allow= belong to rebuild"
        raise WrongUse(msg)
    if seg:
        from .finding import find_made
        from .segs import replay_seg

        if not rebuild:
            return replay_seg(workspace, seg, engine=engine)
        words, told = [seg, *(["--engine", engine] if engine else [])], find_made(workspace.catalog, seg).surroundings
    else:
        original = get_report(workspace.home, what) if isinstance(what, str) else what
        if not rebuild:
            return replay(original, environment=workspace.environment(), verify_inputs=verify_inputs,
                          catalog=workspace.catalog)  # fmt: skip
        words, told = [original.id], original.manifest
    from .rebuilding import replay_elsewhere

    return replay_elsewhere(workspace, words, surroundings=told, code=code, allow=allow)
