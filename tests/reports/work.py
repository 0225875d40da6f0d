"""What the fixture notebooks' cases do: leave a mark on the disk, fail or die when told."""

import os
import signal
import time
from pathlib import Path

from ailab_kernel.ground.errors import VolumeError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = Path(__file__).parent / "notebooks"


def visit(folder: str, fatal: int, pause: float, number: int) -> dict:
    mark = Path(folder) / f"visit-{number}-{time.monotonic_ns()}"
    mark.touch()
    time.sleep(pause)
    if number == fatal and not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        msg = "series 1.2.4 has a gap"
        raise VolumeError(msg)
    return {"value": number * number}
