"""``python -m ailab_kernel.work.child_main FD PARENT``: the other side of `work.child`; it dies with its parent."""

import ctypes
import json
import os
import signal
import sys
from typing import Any

from ailab_kernel.work.jobs import outcome

_PR_SET_PDEATHSIG = 1                          # prctl(2)


def main(answers: int, parent: int) -> None:
    """Answer every line of standard input by a line at ``answers``: the result, or why there is none."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:                 # it died before that was said
        return
    with os.fdopen(answers, "wb", buffering=0) as out:
        for line in sys.stdin.buffer:
            out.write(json.dumps(_done(json.loads(line))).encode() + b"\n")


def _done(asked: dict[str, Any]) -> dict[str, Any]:
    return outcome(asked["call"], asked["payload"], what="it")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
