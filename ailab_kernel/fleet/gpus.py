"""NVIDIA devices of one server: the files that open them, and whether its programs use them."""

import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

_SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
_DRIVER = Path("/proc/driver/nvidia/gpus")


def device_files(ids: Sequence[str], *, driver: Path = _DRIVER, dev: Path = Path("/dev")) -> tuple[Path, ...]:
    """Return the device files that a server with these devices needs; none without devices.

    Parameters
    ----------
    ids
        Numbers of the devices as ``nvidia-smi`` counts them: in the order of their PCI addresses.
    driver
        Where the driver describes each device, in a folder named by its PCI address.
    dev
        Where device files lie.
    """
    minors = [about.get("Device Minor", "") for about in _told(driver)]
    own = [f"nvidia{minors[int(one)]}" for one in ids if int(one) < len(minors)]
    return tuple(dev / name for name in (*own, *_SHARED)) if own else ()


def visible(ids: Sequence[str], *, driver: Path = _DRIVER) -> str:
    """Return ``CUDA_VISIBLE_DEVICES``: UUIDs, which hold where only some device files are there, else ``ids``."""
    uuids = [about.get("GPU UUID", "") for about in _told(driver)]
    return ",".join(uuids[int(one)] if int(one) < len(uuids) and uuids[int(one)] else one for one in ids)


def _told(driver: Path) -> list[dict[str, str]]:
    """What the driver says of each device, in the order of ``nvidia-smi``."""
    found = []
    for file in sorted(driver.glob("*/information")):
        pairs = (line.partition(":") for line in file.read_text(errors="replace").splitlines())
        found.append({key.strip(): value.strip() for key, _, value in pairs})
    return found


def use(pids: Collection[int]) -> int:
    """Return how busy processes keep the GPUs, per cent of the busiest one; 0 where nvidia-smi cannot say."""
    try:
        done = subprocess.run(["nvidia-smi", "pmon", "-c", "1", "-s", "u"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return max((share for pid, share in _shares(done.stdout) if pid in pids), default=0)


def _shares(table: str) -> list[tuple[int, int]]:
    """Process and share of the device's time, per cent; the first line with ``#`` names the columns."""
    rows = [line.split() for line in table.splitlines()]
    names = next((row[1:] for row in rows if row[:2] == ["#", "gpu"]), [])
    told = [dict(zip(names, row, strict=False)) for row in rows if row and row[0] != "#"]
    return [(int(one["pid"]), int(one["sm"])) for one in told
            if one.get("pid", "").isdecimal() and one.get("sm", "").isdecimal()]  # fmt: skip
