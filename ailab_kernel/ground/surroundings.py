"""What a result depends on besides its inputs: AI-LAB's code, the lock, the libraries, the machine.

Every record that may be run again years later keeps them, and the lock itself as an object, so that its environment
can be rebuilt.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from ailab_kernel import __version__

from .ids import canonical_json, sha256, sha256_file

PACKAGES = ("torch", "monai", "openvino", "numpy", "scipy", "pydicom", "highdicom", "papermill")
_OWN = "ailab-kernel"
_SHORT = 12
# What is said of a difference, in the order of how often it is the cause.
_TITLES = {"engine": "the engine", "device": "the device", "versions": "", "code": "AI-LAB's code",
           "lock": "the lock", "machine": "the machine's", "processor": "the processor",
           "threads": "the number of threads"}  # fmt: skip


def surroundings() -> dict[str, Any]:
    """Return code, lock, versions and machine, as plain values; the lock's text is that of `lock_text`."""
    return {
        "code": code_digest(),
        "lock": lock_digest(),
        "versions": {"ailab": __version__, "python": platform.python_version(),
                     **{name: found for name in PACKAGES if (found := installed(name))}},
        "machine": {"processor": platform.machine(), "system": platform.system(), "cores": os.cpu_count()},
        "processor": processor(),
    }  # fmt: skip


def unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what differs between two surroundings, in words, likelier causes first; what one never told is no match.

    Parameters
    ----------
    before, now
        Of `surroundings`, and whatever else is known of both (``engine``, ``device``, ``threads``).
    """
    return tuple(line for key, title in _TITLES.items() if key in before and key in now
                 for line in _unlike(title, before[key], now[key]))  # fmt: skip


def _unlike(title: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in (*before, *(name for name in now if name not in before)):
            yield from _unlike(f"{title} {name}".strip(), before.get(name), now.get(name))
    elif before != now:
        yield f"{title}: {_short(before)} then, {_short(now)} now"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:_SHORT] if len(text) == len(sha256(b"")) else text


@cache
def code_digest(package: Path = Path(__file__).parents[1]) -> str:
    """SHA-256 over every source file of ``ailab_kernel``, which lies at ``package``."""
    return sha256(canonical_json({str(p.relative_to(package)): sha256_file(p) for p in sorted(package.rglob("*.py"))}))


@cache
def lock_text() -> bytes:
    """Return the lock of a checkout; elsewhere one of the installed versions: ``name==version``, a line each."""
    lock = Path(__file__).parents[2] / "requirements.lock"
    if lock.is_file():
        return lock.read_bytes()
    found = {str(one.name): one.version for one in distributions() if one.name and one.name != _OWN}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower)).encode()


def lock_digest() -> str:
    """SHA-256 of the lock, under which the store keeps it."""
    return sha256(lock_text())


@cache
def processor() -> str:
    """Return the processor's model name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf8").splitlines() if path.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def installed(name: str) -> str:
    """Return the installed version of a library; empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
