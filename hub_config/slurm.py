"""Servers as jobs of a Slurm cluster: submitted with sbatch, looked at with squeue, ended with scancel.

The job's first program finds a port and becomes a room with the server in it (`fleet.node`, `fleet.room`). Hub and
machines share the folders of the lab and of Python at the same places. Where the hub is root, a job runs as the
person's own account of the cluster, which has the name that is used at the hub; else it runs as the hub's user.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from jupyterhub.spawner import Spawner
from tornado import web
from traitlets import List, Unicode, default

from ailab_kernel.fleet import slurm
from ailab_kernel.fleet.profiles import Profile, larger
from ailab_kernel.fleet.room import Room
from ailab_kernel.ground.activity import tell
from hub_config.house import House
from hub_config.local_room import SERVER, prepare

_NODE = [sys.executable, "-I", "-m", "ailab_kernel.fleet.node", "--"]
_FIRST_UID = 1000  # below are accounts of the system (login.defs(5), UID_MIN): no job is ever theirs
_LOOK_S, _ANSWER_S = 0.4, 30.0


@dataclass(frozen=True)
class Said:
    """What a program of Slurm answered: its exit status, and what it wrote to either stream."""

    status: int
    out: str
    error: str


class SlurmJob(Spawner):
    """A server in a job."""

    partition = Unicode(help="Partition that jobs go to; empty takes the cluster's default.").tag(config=True)
    account = Unicode(help="Account that hours are billed to; empty takes the person's own.").tag(config=True)
    options = List(Unicode(), help="More options of sbatch.").tag(config=True)

    house: House
    profile: Profile
    roles: list[str]
    job = ""
    waits_for = ""
    granted_at: float | None = None
    ending = False

    @default("poll_interval")
    def _often(self) -> int:
        return max(1, min(30, round(self.house.beat_s)))

    async def start(self) -> tuple[str, int]:
        """Submit the job and wait until it runs and has told its port; while it waits, say what for."""
        house, name = self.house, self.user.name
        if house.inside == "https":
            raise _failed(503, "AILAB_HUB_INTERNAL_TLS is not there for Slurm; the hub's admin turns it off.")
        who = self._account()
        prepare(house, name, uid=who.pw_uid if who else 0, role=self.roles[0])
        for folder in (house.told(name), house.seen(name)) if who else ():
            os.chown(folder, 0, who.pw_gid)  # an account's group need not have its number
        landing = (house.room(name) / "start.ipynb").exists()
        self.default_url = "/lab/tree/start.ipynb" if landing else "/lab"
        self.ending = False
        self.job = await self._submit(who)
        until = time.monotonic() + self.start_timeout - 30
        while time.monotonic() < until:
            found = await self._look()
            if found and not found.lives:
                raise _failed(500, slurm.why_it_ended(found, self.profile))
            if found and found.port:
                self.waits_for = ""
                return await self._address(found.node), found.port
            await self._note(found)
            await asyncio.sleep(_LOOK_S)
        await self._cancel()
        raise _failed(503, f"The cluster did not start your server in time. {self.waits_for} Try again later.")

    async def poll(self) -> int | None:
        """Return nothing while the job waits or runs, or Slurm does not answer; else 0, and the person is told why."""
        if not self.job:
            return 0
        found = await self._look()
        if found is None or found.lives:
            return None
        if not self.ending:
            self.ending = True  # told once, however often the hub asks
            tell(self.house.notices(self.user.name), slurm.why_it_ended(found, self.profile))
        return 0

    async def stop(self, now: bool = False) -> None:
        """Cancel the job and wait until it is over; it is asked first, and killed after Slurm's KillWait."""
        self.ending = True
        await self._cancel()
        while self.job and not now and (found := await self._look()) and found.lives:
            await asyncio.sleep(_LOOK_S)

    def get_env(self) -> dict[str, str]:
        """Add home and name. What sbatch is started with is what the job sees: nothing else of the hub's is in it."""
        home, name = self.house.room(self.user.name), self.user.name
        conf = {"SLURM_CONF": os.environ["SLURM_CONF"]} if "SLURM_CONF" in os.environ else {}
        return super().get_env() | conf | {"HOME": str(home), "USER": name, "LOGNAME": name, "SHELL": "/bin/bash"}

    def get_state(self) -> dict[str, Any]:
        """Keep the job's number, so that a hub that starts again finds it."""
        return super().get_state() | ({"job": self.job} if self.job else {})

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the job that was running."""
        super().load_state(state)
        self.job = state.get("job", "")

    def clear_state(self) -> None:
        """Forget the job."""
        super().clear_state()
        self.job = self.waits_for = ""

    def _account(self) -> pwd.struct_passwd | None:
        """The person's account of the cluster; None where the hub is not root and everything runs as its user."""
        if "uid" not in self.house.isolation:
            return None
        try:
            found = pwd.getpwnam(self.user.name)
        except KeyError:
            raise _failed(403, "You have no account of this name on the cluster; ask for one.") from None
        if found.pw_uid < _FIRST_UID:
            raise _failed(403, "Your name is that of a system's account, which runs no server; ask the hub's admin.")
        return found

    async def _submit(self, who: pwd.struct_passwd | None) -> str:
        home = self.house.room(self.user.name)
        places = {"partition": self.partition, "account": self.account}
        options = [
            *slurm.directives(self.profile), "--job-name=ailab", "--export=ALL", f"--chdir={home}",
            f"--output={home / '.ailab' / 'server.log'}", "--open-mode=truncate",
            *(f"--{name}={value}" for name, value in places.items() if value), *self.options,
        ]  # fmt: skip
        room = Room(memory_gb=self.profile.memory_gb, home=home, hint=self._hint(),
                    notices=None if who else self.house.notices(self.user.name))  # fmt: skip
        server = [*SERVER, "--KernelManager.transport=ipc", *self.get_args()]
        text = slurm.script(options, [*_NODE, *room.words(), *server])
        become = {"user": who.pw_uid, "group": who.pw_gid,
                  "extra_groups": os.getgrouplist(who.pw_name, who.pw_gid)} if who else {}  # fmt: skip
        said = await _run("sbatch", "--parsable", text=text, env=self.get_env(), **become)
        number = said.out.strip().partition(";")[0]
        if said.status or not number.isdecimal():
            self.log.error("%s: sbatch refused: %s", self._log_name, said.error.strip())
            raise _failed(503, slurm.refusal(said.error))
        self.log.info("%s: %s as job %s", self._log_name, self.profile.size, number)
        return number

    def _hint(self) -> str:
        more = larger(self.house.profiles, self.roles, than=self.profile)
        bigger = f", or start tier {more.name} ({more.memory_gb:g} GB)" if more else ""
        return f"Next: load less at a time, shut down idle kernels{bigger}."

    async def _look(self) -> slurm.Job | None:
        """What Slurm says of the job; None where it does not answer. A job it has forgotten is over."""
        said = await _run("squeue", "--noheader", "--states=all", f"--jobs={self.job}", f"--format={slurm.FORMAT}")
        if said.status and "Invalid job id" not in said.error:
            self.log.warning("%s: Slurm does not answer: %s", self._log_name, said.error.strip()[:200])
            return None
        return slurm.job_of(said.out) or slurm.Job("gone from Slurm's memory", "", "", "", 0)

    async def _note(self, found: slurm.Job | None) -> None:
        """Say what the job waits for; from when it runs, the usual time counts."""
        if found and not found.waits:
            self.granted_at = time.monotonic() if self.waits_for else self.granted_at
            self.waits_for = ""
        elif found:
            ahead = await _run("squeue", "--noheader", "--states=PENDING", f"--partition={found.partition}",
                               "--sort=-p,i", "--format=%i")  # fmt: skip
            self.waits_for = slurm.why_it_waits(found, place=slurm.place_of(self.job, ahead.out))

    async def _address(self, node: str) -> str:
        """The machine's address as Slurm knows it: what the job says of itself is not asked."""
        said = await _run("sinfo", "--noheader", f"--nodes={node}", "--format=%o")
        return (said.out.split() or [node])[0]

    async def _cancel(self) -> None:
        if self.job:
            await _run("scancel", self.job)


async def _run(*command: str, text: str = "", env: dict[str, str] | None = None, **become: Any) -> Said:
    """Run a program of Slurm without a shell; whoever it is run as, it sees ``env`` and nothing of ours."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=env, cwd="/", **become)  # fmt: skip
    try:
        out, error = await asyncio.wait_for(process.communicate(text.encode()), _ANSWER_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Said(1, "", f"{command[0]} did not answer in {_ANSWER_S:g} s")
    return Said(process.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace"))


def _failed(status: int, words: str) -> web.HTTPError:
    error = web.HTTPError(status, words.replace("%", "%%"))
    error.jupyterhub_message = words
    return error


def limits_in_words() -> str:
    """Say what holds limits on this cluster."""
    if not shutil.which("scontrol"):
        return "Slurm's programs are not installed beside the hub (scontrol is missing): no server can start."
    said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=_ANSWER_S)
    return f"Limits count the whole server: {slurm.held_by(said.stdout)}."
