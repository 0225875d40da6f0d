"""Servers on the hub's own machine: each in a room that holds its limits (`fleet.room`), behind walls where it can."""

import os
import shutil
import sys
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Integer

from ailab_kernel.fleet import gpus
from ailab_kernel.fleet.cgroups import Ground, fence, settle, survey
from ailab_kernel.fleet.profiles import Profile, larger
from ailab_kernel.fleet.room import PROGRAMS_S, SERVER_S, Room
from ailab_kernel.fleet.sandbox import Walls
from hub_config.house import HERE, House
from hub_config.isolation import PROGRAM, empty
from hub_config.startup import listening

SERVER = [sys.executable, "-P", "-m", "jupyterhub.singleuser",  # -P: files in a person's folder are no modules of it
           "--ServerApp.jpserver_extensions=hub_config.checkpoint=True"]  # fmt: skip
_LONGEST_SOCKET = 107  # characters of a Unix socket's address (unix(7)); a kernel's name takes up to 50 of them
_LOOKS = 0.25  # of the culler's time between two looks: the room looks at devices that much more often
_NEXT_CORE = count()


class LocalRoom(LocalProcessSpawner):
    """A server in a room. The room asks programs and server to end, so that the hub has to ask the room only."""

    house: House
    profile: Profile
    roles: list[str]
    lessee: str
    interrupt_timeout = Integer(ceil(PROGRAMS_S + SERVER_S) + 3).tag(config=True)
    ground: Ground | None = None

    def make_preexec_fn(self, name: str) -> None:
        """Nothing: the room itself changes to the person's user."""

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add home, name and folder of sockets; there need be no such user on the machine."""
        home, name = self.house.room(self.user.name), self.user.name
        return env | {"HOME": str(home), "USER": name, "LOGNAME": name, "SHELL": "/bin/bash",
                      "JUPYTER_RUNTIME_DIR": str(self._runtime())}  # fmt: skip

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Copy the server's certificates to where its user can read them, and nobody else's."""
        house, name = self.house, self.user.name
        uid = house.uid(name)
        post(house, name, uid=uid)
        folder = house.told(name) / "certificates"
        empty(folder, uid=uid)
        moved = {}
        for key, path in paths.items():
            moved[key] = str(folder / Path(path).name)
            shutil.copyfile(path, moved[key])
            Path(moved[key]).chmod(0o600)
            if uid:
                os.chown(moved[key], uid, uid)
        return moved

    async def start(self) -> tuple[str, int]:
        """Prepare the person's folder and start the room with the server in it."""
        house, profile, name = self.house, self.profile, self.user.name
        uid = house.uid(name)
        prepare(house, name, uid=uid, role=self.roles[0])
        held = fence(memory_gb=profile.memory_gb, cpus=profile.cpus, ground=ground(), name=name)
        room = Room(memory_gb=profile.memory_gb, cpus=cores(profile.cpus), quota=profile.cpus, group=held.group,
                    uid=uid, walled=house.walled, home=house.room(name), notices=house.notices(name),
                    hint=self._hint(), gpus=_LOOKS * house.beat_s if self._devices() else 0,
                    beats=house.seen(name))  # fmt: skip
        self.log.info("%s: %s; %s; %s", self._log_name, profile.size, held.says, house.plain_words())
        self.cmd = [*held.before, *room.words(), *self._walls(uid), *SERVER, *self._sockets()]
        self.default_url = "/lab/tree/start.ipynb" if (house.room(name) / "start.ipynb").exists() else "/lab"
        log = house.log(name)
        with log.open("wb") as file:
            self.popen_kwargs = {"cwd": "/", "stdout": file, "stderr": file}
            place = await super().start()
        return await listening(self, place, log)

    def get_state(self) -> dict[str, Any]:
        """Keep when the room began: its number may be another program's when the hub looks again."""
        return super().get_state() | {"began": began(self.pid)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a room that still runs after the hub was started again, and only that one."""
        super().load_state(state)
        if self.pid and began(self.pid) != state.get("began"):
            self.pid = 0

    async def poll(self) -> int | None:
        """Whether the room runs: None; one that ended unseen counts as ended though nobody took it in."""
        if self.proc is None and self.pid and not began(self.pid):
            self.pid = 0
        return await super().poll()

    def _devices(self) -> tuple[str, ...]:
        return self.house.leases.held(self.lessee)

    def _hint(self) -> str:
        more = larger(self.house.profiles, self.roles, than=self.profile)
        bigger = f", or start tier {more.name} ({more.memory_gb:g} GB)" if more else ""
        return f"Next: load less at a time, shut down idle kernels{bigger}."

    def _walls(self, uid: int) -> list[str]:
        house, name = self.house, self.user.name
        if not house.walled:
            return []
        return Walls(home=house.room(name), tmp=house.tmp(name), hide=house.folder.parent, uid=uid,
                     reads=(*PROGRAM, house.told(name)), devices=gpus.device_files(self._devices()),
                     shm_gb=self.profile.shm_gb).words()  # fmt: skip

    def _runtime(self) -> Path:
        return (Path("/tmp") if self.house.walled else self.house.tmp(self.user.name)) / "jupyter"

    def _sockets(self) -> list[str]:
        """Kernels listen in the person's own folder: at a TCP port, whoever is on this machine could read along."""
        fits = len(str(self._runtime())) + 50 <= _LONGEST_SOCKET
        return ["--KernelManager.transport=ipc"] if fits else []


def began(pid: int) -> str:
    """When a process began: the machine's start and its own; empty for none, and for one that has ended."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if told[0] == "Z" else f"{start} {told[19]}"


def ground() -> Ground:
    """Return where groups of the kernel may be made; the first call prepares it, in the hub's process alone."""
    if LocalRoom.ground is None:
        LocalRoom.ground = settle(survey())
    return LocalRoom.ground


def cores(wanted: float) -> tuple[int, ...]:
    """Return cores to bind a server to, each server starting at another; empty where it may have all."""
    here = sorted(os.sched_getaffinity(0))
    if wanted >= len(here):
        return ()
    first = next(_NEXT_CORE)
    return tuple(here[(first + step) % len(here)] for step in range(ceil(wanted)))


def post(house: House, name: str, *, uid: int) -> None:
    """Make the folder that the hub writes for a person, who alone may read it."""
    for folder in (house.told(name), house.seen(name)):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o750)
        if uid:
            os.chown(folder, 0, uid)


def prepare(house: House, name: str, *, uid: int, role: str) -> None:
    """Make a person's folder once, with the landing page of the role; later it is theirs and the hub writes nothing.

    It is built aside and renamed: root never writes where somebody else could have put a link. The folder of what is
    temporary is made anew each time.
    """
    post(house, name, uid=uid)
    empty(house.tmp(name), uid=uid)
    home = house.room(name)
    if home.exists():
        return
    aside = home.with_name(f".{home.name}.new")
    empty(aside, uid=0)
    (aside / ".ailab" / "activity").mkdir(parents=True)
    page = HERE.parent / "notebooks" / "start" / f"{role}.ipynb"
    if page.is_file():
        shutil.copyfile(page, aside / "start.ipynb")
    if uid:
        for path in (aside, *aside.rglob("*")):
            os.chown(path, uid, uid)
    aside.rename(home)


def limits_in_words() -> str:
    """Say what holds limits on this machine."""
    return f"Limits count the whole server: {fence(memory_gb=1, cpus=1, ground=ground()).says}."
