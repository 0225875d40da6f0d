"""What the tests' cases and jobs do; module-level, so that it can travel to another process."""

import os
import signal
import time
from pathlib import Path

from ailab_kernel.ground.errors import VolumeError


def square(number: int) -> int:
    time.sleep(0.02 * (5 - number % 5))
    return number * number


def fussy(number: int) -> int:
    if number == 2:
        msg = "series 1.2.2 has a gap"
        raise VolumeError(msg)
    if number == 7:
        msg = "Mustermann^Erika is odd"
        raise ValueError(msg)
    return number


def mortal(folder: str, number: int) -> int:
    """Case 3 kills its worker, once."""
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number * number


def poison(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def where(number: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def log(payload: dict) -> int:
    with Path(payload["log"]).open("a") as file:
        file.write(f"start {payload['n']}\n")
        file.flush()
        time.sleep(payload.get("sleep", 0))
        if payload.get("bad") == "ours":
            msg = "series 1.2.3 has a gap"
            raise VolumeError(msg)
        if payload.get("bad"):
            msg = "Mustermann^Erika"
            raise ValueError(msg)
        file.write(f"end {payload['n']}\n")
    return payload["n"]


def die(payload: dict) -> None:
    with Path(payload["log"]).open("a") as file:
        file.write("die\n")
    os.kill(os.getpid(), signal.SIGKILL)


def host_and_job(number: int) -> str:
    """Where Slurm lets this run: its job's number."""
    return "job" + os.environ["SLURM_JOB_ID"]
