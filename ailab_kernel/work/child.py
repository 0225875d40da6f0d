"""A process that runs functions for this one, kept warm, and replaced when a function takes it down.

Segmentation faults, memory without end and loops without end end the child and say so; the caller goes on.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from ailab_kernel.ground.errors import ChildDied, JobError

_LOOK_S = 0.25                                 # how often memory and time are looked at
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ENDED_S = 5.0


@dataclass(frozen=True)
class Limits:
    """What one call may cost.

    Attributes
    ----------
    seconds
        From its begin to its answer.
    memory_bytes
        Resident memory of the child; 0: no limit but the machine's.
    """

    seconds: float = 3600.0
    memory_bytes: int = 0


class Child:
    """One child process, started when it is first needed.

    Parameters
    ----------
    environment
        Variables that it gets beside this process's own.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, payload: Mapping[str, Any], *, limits: Limits) -> Any:
        """Run ``package.module:function`` with a JSON mapping in the child and return what it returns, JSON values.

        Raises
        ------
        ChildDied
            The child died, nobody knows why.
        JobError
            It failed, or a limit was met; the message says which.
        """
        process = self._ready()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"call": function, "payload": dict(payload)}).encode() + b"\n")
            process.stdin.flush()
            answer = self._answer(process, limits)
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise ChildDied(self._ending())
        told = json.loads(answer)
        if "failed" in told:
            raise JobError(str(told["failed"]))
        return told["result"]

    def close(self) -> None:
        """End the child."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._answers is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._answers.close()
        self._process = None

    def _ready(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "ailab_kernel.work.child_main", str(writing), str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,), stdout=subprocess.DEVNULL,
                                         env=os.environ | self._environment)  # fmt: skip
        os.close(writing)
        self._answers = os.fdopen(reading, "rb")
        return self._process

    def _answer(self, process: "subprocess.Popen[bytes]", limits: Limits) -> bytes:
        """Return the line that the child answers with; empty where it ended without one."""
        assert self._answers is not None
        end = time.monotonic() + limits.seconds
        while not select.select([self._answers], [], [], _LOOK_S)[0]:
            if time.monotonic() > end:
                self.close()
                msg = f"it ran for more than {limits.seconds:g} s and was ended"
                raise JobError(msg)
            if limits.memory_bytes and _resident(process.pid) > limits.memory_bytes:
                self.close()
                msg = f"it needed more than {limits.memory_bytes / 2**30:.1f} GB of memory and was ended"
                raise JobError(msg)
        return self._answers.readline()

    def _ending(self) -> str:
        """Why the child is gone, in words."""
        assert self._process is not None
        try:
            code = self._process.wait(_ENDED_S)
        except subprocess.TimeoutExpired:
            code = 0
        self.close()
        return f"its process died (signal {-code})" if code < 0 else "its process ended without an answer"


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
