"""Walls around one person's server, built by bubblewrap: what is not named here does not exist in it.

Of files it sees the system's programs and the lab's, read only, and the person's own folder; ``/proc`` shows its own
processes only, ``/tmp`` is the person's, ``/dev/shm`` has a size, ``/dev`` holds the leased GPUs and no other device.
Nothing in it can gain rights (setuid programs do not). There is no wall around the network, for the hub must reach the
server on 127.0.0.1: what listens there is reached, and has to ask for a token. Sockets with abstract names belong to
the network too.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .memory import GIB

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Of /etc what programs need, and nothing that may hold a secret.
_ETC = ("alternatives", "ca-certificates", "fonts", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
        "localtime", "magic", "mime.types", "nsswitch.conf", "OpenCL", "passwd", "protocols", "resolv.conf", "services",
        "ssl/certs", "ssl/openssl.cnf", "timezone")  # fmt: skip
_CPUS = "/sys/devices/system"
_PASS = "0711"  # in the lab's folder one passes, and does not look around
_LEAST_SHM_GB = 1 / 16  # what container engines give
_BECOME = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
# Not even root of a namespace of its own, who could take walls away.
_NOBODY = ["--unshare-user", "--uid", str(os.geteuid() or 65534), "--gid", str(os.getegid() or 65534)]


@dataclass(frozen=True, kw_only=True)
class Walls:
    """What one server may see.

    Attributes
    ----------
    home
        The person's folder, to read and to write.
    tmp
        Folder that is ``/tmp`` inside.
    hide
        The lab's folder: empty inside, but for what is named here.
    reads
        More files and folders to read; those that are absent are passed over.
    devices
        Device files.
    shm_gb
        Size of ``/dev/shm``, GiB.
    uid
        User and group that the server runs as; 0 keeps the hub's own, without any of its rights over others.
    """

    home: Path
    tmp: Path
    hide: Path
    reads: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    shm_gb: float = 0.0
    uid: int = 0
    python: tuple[Path, ...] = field(default_factory=lambda: (Path(sys.base_prefix), Path(sys.prefix)))

    def words(self) -> list[str]:
        """Return the words that come before the server's command."""
        keep_rights = [word for right in _BECOME for word in ("--cap-add", right)] if self.uid else _NOBODY
        return [
            "bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent",
            *keep_rights, *_system(), "--proc", "/proc", "--dev", "/dev",
            "--perms", "1777", "--size", str(round(max(self.shm_gb, _LEAST_SHM_GB) * GIB)), "--tmpfs", "/dev/shm",
            *(word for path in self.devices for word in ("--dev-bind-try", str(path), str(path))),
            *_folders("/tmp"), "--bind", str(self.tmp), "/tmp",
            *_seen(self.python), *_folders(self.hide), "--perms", _PASS, "--tmpfs", str(self.hide),
            *_seen(self.reads, hide=self.hide), *_folders(self.home, hide=self.hide),
            "--bind", str(self.home), str(self.home), "--chdir", str(self.home), "--",
            *_become(self.uid),
        ]  # fmt: skip


def lacking() -> str:
    """Say what is missing to build walls here; empty where nothing is."""
    missing = [name for name in ("bwrap", "setpriv") if not shutil.which(name)]
    packages = {"bwrap": "bubblewrap", "setpriv": "util-linux"}
    return f"{missing[0]} is not installed (apt-get install {packages[missing[0]]})" if missing else ""


def _become(uid: int) -> list[str]:
    who = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"] if uid else []
    return ["setpriv", *who, "--no-new-privs", "--inh-caps", "-all", *(["--bounding-set", "-all"] if uid else []), "--"]


def _system() -> list[str]:
    """System folders as they are: links stay links."""
    words: list[str] = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", name, name]
    return words + _seen([Path("/etc") / name for name in _ETC] + [Path(_CPUS)])


def _seen(paths: Sequence[Path], *, hide: Path | None = None) -> list[str]:
    return [word for path in paths if path.exists()
            for word in (*_folders(path, hide=hide), "--ro-bind", str(path), str(path))]  # fmt: skip


def _folders(path: str | Path, *, hide: Path | None = None) -> list[str]:
    """The folders on the way, for all to pass; bubblewrap would make them for the hub's user only."""
    parents = [one for one in reversed(Path(path).parents) if str(one) != "/" and one != hide]
    modes = [(_PASS if hide and one.is_relative_to(hide) else "0755", str(one)) for one in parents]
    return [word for mode, one in modes for word in ("--perms", mode, "--dir", one)]
