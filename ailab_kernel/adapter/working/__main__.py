"""``python -m ailab_kernel.adapter.working HOME NAME PLAN``: a worker, until its standard input ends."""

import os
import sys
import threading
from pathlib import Path

from ailab_kernel.adapter.working.worker import jobs_of, warm
from ailab_kernel.workspace import open_workspace


def main(home: str, name: str, plan: str) -> None:
    """Work the queue off for ever; whoever started it ends it by closing its standard input, or by dying."""
    threading.Thread(target=_follow, daemon=True).start()
    workspace = open_workspace(home=home)
    warm(workspace, Path(plan))
    jobs_of(workspace).work(until_empty=False, worker=name)


def _follow() -> None:
    sys.stdin.buffer.read()
    os._exit(0)                                # what is under way is taken up by the next worker


if __name__ == "__main__":
    main(*sys.argv[1:4])
