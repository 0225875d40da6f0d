"""The trusted process as a service of the hub, as a system user of its own where the hub can give it one."""

import os
import sys
from pathlib import Path
from typing import Any

from ailab_kernel.fleet.room import Room
from ailab_kernel.ground.errors import SettingsError
from hub_config.house import HERE, House

_LAB_MODE = 0o1771  # its user may add to the folder and pass through it; the hub's folder in it stays the hub's


def service(house: House) -> dict[str, Any]:
    """Return the hub's service ``ailab``; the lab's files are handed to its user before it starts.

    Raises
    ------
    SettingsError
        It is told to speak TLS, which the hub's own proxy does for it.
    """
    if os.environ.get("AILAB_SERVICE_CERT"):
        msg = ("AILAB_SERVICE_CERT is for a trusted process that listens beyond its machine; this hub's listens on "
               "127.0.0.1 behind the proxy: leave it out, and give AILAB_HUB_TLS_CERT with its key")  # fmt: skip
        raise SettingsError(msg)
    command = [sys.executable, "-m", "ailab_kernel.service"]
    uid = house.service_uid
    if uid:
        hand_over(house.folder.parent, uid, leave=house.folder)
        command = [*Room(uid=uid, home=HERE.parent).words(), *command]
    return {"name": "ailab", "url": f"http://127.0.0.1:{house.port(3)}", "oauth_no_confirm": True, "command": command}


def hand_over(lab: Path, uid: int, *, leave: Path) -> None:
    """Give a lab's files to a system user: all but the folder ``leave``, and no file that a link leads to."""
    os.chown(lab, 0, uid)
    lab.chmod(_LAB_MODE)
    for entry in os.scandir(lab):
        if Path(entry.path) == leave or entry.stat(follow_symlinks=False).st_uid == uid:
            continue
        os.chown(entry.path, uid, uid, follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            for folder, folders, files in os.walk(entry.path):
                for name in (*folders, *files):
                    os.chown(Path(folder) / name, uid, uid, follow_symlinks=False)
