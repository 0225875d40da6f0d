"""What the doctor looks at on the machine: Python, packages, disk, memory, GPU, and the hub with its parts."""

import email.utils
import html
import http.client
import os
import shutil
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .findings import Check, Finding, Place, fail, ok, warn

_ROOT = Path(__file__).parents[2]
_GIB = 1024**3
_LEAST_GB = {"disk": (2.0, 20.0), "memory": (1.0, 4.0)}  # fails below, warns below
_RAM_GB = 16  # the least that the framework asks for (3.2)
_SKEW_S = (5.0, 60.0)
_ANSWER_S = 5.0
_MOUNT = Path("/sys/fs/cgroup")


def python(_: Place) -> Finding:
    """Compare Python with the one that AI-LAB is made for."""
    here = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 11):
        return fail(f"Python {here}; 3.11 is expected", "make clean, then make demo with PYTHON=python3.11")
    return ok(f"Python {here}")


def packages(_: Place) -> Finding:
    """Compare what is installed with the lock."""
    file = _ROOT / "requirements.lock"
    if not file.is_file():
        return ok("installed from a wheel: there is no lock to compare with")
    locked = dict(line.split("==") for line in file.read_text().splitlines() if "==" in line and line[0] != "#")
    here = {name: _version(name) for name in locked}
    missing = sorted(name for name, found in here.items() if not found)
    other = sorted(name for name, found in here.items() if found and found.partition("+")[0] != locked[name])
    told = [f"{len(many)} {what} ({', '.join(many[:4])}{', ...' if len(many) > 4 else ''})"
            for many, what in ((missing, "missing"), (other, "in another version")) if many]  # fmt: skip
    if told:
        return warn(f"of {len(locked)} locked packages {' and '.join(told)}",
                    f"{sys.executable} -m pip install -r requirements.lock")  # fmt: skip
    return ok(f"{len(locked)} packages as the lock names them")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def disk(place: Place) -> Finding:
    """Look at the free space where the lab lies, or will lie."""
    folder = next(path for path in (place.home, *place.home.parents) if path.is_dir())
    found = shutil.disk_usage(folder)
    told = f"{found.free / _GIB:.1f} of {found.total / _GIB:.0f} GB free where the lab lies"
    step = "make room, or move the lab (AILAB_HOME) to a larger disk; ailab size says how much it takes over the years"
    return _judged("disk", found.free / _GIB, told, step)


def memory(_: Place) -> Finding:
    """Look at the memory that is free, within this process's own limit where it has one."""
    found = {line.split(":")[0]: int(line.split()[1]) / 1024**2
             for line in Path("/proc/meminfo").read_text().splitlines()}  # fmt: skip
    total, free = found["MemTotal"], found["MemAvailable"]
    limit = _limit_gb()
    if limit:
        total, free = min(total, limit), min(free, limit)
    told = f"{free:.1f} of {total:.0f} GB free" + (" (a limit of this server)" if limit else "")
    judged = _judged("memory", free, told, "end idle kernels and programs, or take a machine with more (ailab size)")
    if judged.state == "ok" and total < _RAM_GB - 1 and not os.environ.get("AILAB_TIER"):
        return warn(told, f"the framework asks for {_RAM_GB} GB or more (3.2): single studies run, training may not")
    return judged


def _limit_gb() -> float:
    path = _MOUNT / "memory.max"
    text = path.read_text().strip() if path.is_file() else "max"
    return int(text) / _GIB if text.isdecimal() else 0.0


def _judged(what: str, free: float, told: str, step: str) -> Finding:
    least, enough = _LEAST_GB[what]
    return fail(told, step) if free < least else warn(told, step) if free < enough else ok(told)


def gpu(place: Place) -> Finding:
    """List the NVIDIA devices, honestly none, and whether the settings ask for one."""
    from ailab_kernel.fleet.leases import devices_here

    found, wanted = devices_here(), place.workspace.settings.device == "cuda"
    if found:
        return ok(f"{len(found)}: {', '.join(sorted({one.kind for one in found}))}")
    if wanted:
        return fail("none, though device = cuda is set", "set device = \"auto\" in ailab.toml, or mend the driver")
    if shutil.which("nvidia-smi"):
        return warn("nvidia-smi is installed and lists no device", "run nvidia-smi: it says what the driver lacks")
    return ok("none: networks run on the CPU")


def limits(place: Place) -> Finding:
    """Say what holds the limits of people's servers on this machine."""
    from ailab_kernel.fleet.cgroups import fence, survey

    tier = os.environ.get("AILAB_TIER")
    if tier:
        return ok(f"this server is of tier {tier}; {os.environ.get('OMP_NUM_THREADS', '?')} threads")
    return ok(fence(memory_gb=1, cpus=1, ground=survey()).says)


def proxy(place: Place) -> Finding:
    """Whether the hub's proxy is installed."""
    if find_spec("hub_config") is None:
        return ok("not needed here: the hub comes with a checkout")
    from hub_config import proxy as installed

    if installed.SCRIPT.is_file():
        return ok("configurable-http-proxy is installed")
    said = "not installed"
    return warn(said, "make .venv/hub-ready") if _hub_is_here(place) else ok(f"{said}; make hub installs it")


def hub(place: Place) -> Finding:
    """Whether the hub answers."""
    answer = _ask(place.hub + "/hub/health")
    if answer is None:
        told = f"no hub answers at {place.hub}"
        if place.hub_named:
            return fail(told, "ailab hub start on the hub's machine; its log is hub/private/hub.log in its lab")
        return warn(told, "ailab hub start") if _hub_is_here(place) else ok("none here; ailab hub start begins one")
    if answer[0] != 200:
        return fail(f"answers with status {answer[0]} at {place.hub}", "look into hub/private/hub.log in the hub's lab")
    return ok(f"answers at {place.hub}")


def service(place: Place) -> Finding:
    """Whether the trusted process behind the hub answers."""
    url = place.service or f"{place.hub}/services/ailab"
    if not place.service and _ask(place.hub + "/hub/health") is None:
        return ok("no hub: catalog and keys are in this process, and roles are not enforced")
    answer = _ask(url + "/health")
    if answer is None or answer[0] >= 500:
        step = "look for 'ailab' in hub/private/hub.log, then start the hub again"
        return fail("the trusted process does not answer", step)
    if answer[0] == 404 or b'"ailab"' not in answer[1]:
        return warn("the hub runs without the trusted process: roles are not enforced", "unset AILAB_HUB_SERVICE=off")
    return ok("answers; roles are enforced behind it")


def clock(place: Place) -> Finding:
    """Compare this machine's clock with the hub's."""
    answer = _ask(place.hub + "/hub/health")
    if answer is None or "date" not in answer[2]:
        return ok("no hub to compare with")
    skew = abs(email.utils.parsedate_to_datetime(answer[2]["date"]).timestamp() - time.time())
    told, step = f"{skew:.0f} s apart from the hub's", "set both clocks by NTP (timedatectl set-ntp true)"
    low, high = _SKEW_S
    if skew > low:
        return fail(told, f"{step}: tokens and seals carry times") if skew > high else warn(told, step)
    return ok(f"within {low:g} s of the hub's")


def isolation(place: Place) -> Finding:
    """How far people's servers are kept apart, as the running hub says; else what could be had here."""
    if find_spec("hub_config") is None:
        return ok("not looked at: the hub comes with a checkout")
    inside = os.environ.get("AILAB_ISOLATION")
    if inside == "none":
        return warn("users are not isolated from each other: archives with patients are refused",
                    "ask the hub's admin: ailab doctor on the hub's machine says how")  # fmt: skip
    if inside:
        return ok(f"this server is isolated by {inside}")
    page = _ask(place.hub + "/hub/login")
    return _would_be() if page is None else _as_told(html.unescape(page[1].decode(errors="replace")))


def _as_told(page: str) -> Finding:
    """What the running hub's login page says of isolation."""
    from hub_config.isolation import SAYS

    level = next((name for name, words in SAYS.items() if words in page), "none")
    if level == "none":
        return warn("users are not isolated from each other: archives with patients are refused",
                    "hub/private/hub.log and hub_config/README.md, Isolation, say what is lacking")  # fmt: skip
    return ok(f"the running hub isolates by {level}")


def _would_be() -> Finding:
    """What a hub could do here: tried in a folder of its own, which is removed."""
    from hub_config.isolation import find

    with tempfile.TemporaryDirectory(prefix="ailab-doctor-") as folder:
        tried = Path(folder) / "lab" / "hub"
        for path in (tried, tried.parent, Path(folder)):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o711)
        found = find(tried)
    how = "not isolate people" if found.level == "none" else f"isolate by {found.level}"
    return ok(f"no hub runs; one that this user starts would {how}")


def _hub_is_here(place: Place) -> bool:
    """Whether a hub was ever started in this lab."""
    return (place.home / "hub").is_dir()


def _ask(url: str) -> tuple[int, bytes, dict[str, str]] | None:
    """Status, body and lower-case headers of an answer; None when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S, context=_context(url)) as answer:
            return answer.status, answer.read(200_000), {key.lower(): value for key, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, b"", {}
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _context(url: str) -> Any:
    """Whether a certificate is trusted is the browser's matter; here nothing secret is sent."""
    if not url.startswith("https:"):
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


CHECKS = {
    "python": Check(python, "make clean, then make demo with PYTHON=python3.11"),
    "packages": Check(packages, "make .venv/ready"),
    "disk": Check(disk, "check the disk and the rights of the lab's folder (AILAB_HOME)"),
    "memory": Check(memory, "look at /proc/meminfo: this check needs Linux"),
    "gpu": Check(gpu, "run nvidia-smi"),
    "limits": Check(limits, "look into hub_config/README.md, Limits"),
    "proxy": Check(proxy, "make .venv/hub-ready"),
    "hub": Check(hub, "ailab hub start"),
    "service": Check(service, "look into hub/private/hub.log in the hub's lab"),
    "clock": Check(clock, "set both clocks by NTP (timedatectl set-ntp true)"),
    "isolation": Check(isolation, "look into hub_config/README.md, Isolation"),
}
