"""How long the doors take to open: ``import ailab_kernel`` (goal < 50 ms) and ``ailab --help`` (goal < 0.4 s).

Beside them the peer that a notebook would import instead. Medians of interleaved runs.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
AILAB = Path(sys.executable).with_name("ailab")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import ailab_kernel": [sys.executable, "-c", "import ailab_kernel"],
    "import monai": [sys.executable, "-c", "import monai"],
    "ailab --help": [str(AILAB), "--help"],
    "papermill --help": [str(AILAB.with_name("papermill")), "--help"],
}


def seconds(command):
    """Wall time of one run of a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main():
    """Print medians and what lies above a bare interpreter."""
    found = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            found[name].append(seconds(command))
    medians = {name: statistics.median(times) for name, times in found.items()}
    bare = medians["python -c pass"]
    for name, median in medians.items():
        print(f"{name:<22}{median * 1000:8.0f} ms   {(median - bare) * 1000:8.0f} ms above a bare interpreter")
    print(f"ailab --help takes {medians['ailab --help'] / medians['papermill --help']:.2f} of papermill --help")


if __name__ == "__main__":
    main()
