"""A real Slurm of one machine that tests start and end: munged, slurmctld and slurmd, reachable from nowhere else.

Slurm's daemons bind every address and ask for a network that is more than loopback. They therefore run in a network of
their own with one more address, in which nothing but them, the hub and the jobs lives; ``relay.py`` passes ports on from
127.0.0.1. Users and groups of that small world are files of its own, laid over the machine's: no account is made.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services import need_service

from . import passage

ADDRESS = "10.213.77.1"
ROOT = Path(__file__).parents[2]
PEOPLE = {"anna": 23001, "ben": 23002, "gina": 23003, "gunter": 23004, "rudi": 23005, "greta": 23006}
_CONF = """
ClusterName=test
SlurmctldHost={name}({address})
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill,UsePss
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
GresTypes=gpu
MpiDefault=none
MailProg=/bin/true
NodeName={name} NodeAddr={address} CPUs=8 RealMemory=16000 Gres=gpu:simulated:1
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# 1 the folder, 2 the address; what follows is the test's own: it ends when this shell does.
_UP = """
set -e
ip link set lo up
ip link add lab0 type veth peer name lab1
ip address add "$2"/24 dev lab0
ip link set lab0 up
ip link set lab1 up
for file in passwd group; do mount --bind "$1/$file" "/etc/$file"; done
munged --foreground --force --socket="$1/munge.socket" --key-file="$1/munge.key" --pid-file="$1/munged.pid" \
  --log-file="$1/munged.log" --seed-file="$1/munge.seed" > "$1/munged.log" 2>&1 &
until [ -S "$1/munge.socket" ]; do sleep 0.05; done
slurmctld -D -c > "$1/slurmctld.log" 2>&1 &
slurmd -D > "$1/slurmd.log" 2>&1 &
until sinfo --noheader --format=%t 2> "$1/sinfo.log" | grep --quiet idle; do sleep 0.1; done
echo ready
cat > /dev/null
"""


@dataclass(frozen=True)
class Slurm:
    """A running Slurm."""

    folder: Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def inside(self, *command: str) -> list[str]:
        """A command as it is run in there; nsenter passes no signal on, so the command is asked to end when it ends."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--wd=/", "--",
                "setpriv", "--pdeathsig", "TERM", "--", *command]

    def run(self, *command: str, timeout: float = 60, **more: str) -> str:
        """What a command prints that is run in there; an error of it is the test's."""
        done = subprocess.run(self.inside(*command), env=os.environ | self.environment | more, capture_output=True, text=True,
                              timeout=timeout, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def jobs(self, form: str = "%j|%u|%T|%C|%m|%l|%b") -> list[str]:
        """What squeue prints of every job that waits or runs."""
        return self.run("squeue", "--noheader", f"--format={form}").splitlines()

    @contextmanager
    def reachable(self, port: int) -> Iterator[None]:
        """Pass a port of 127.0.0.1 out here on to the same port in there."""
        import socket

        with socket.create_server(("127.0.0.1", port)) as outside:
            command = self.inside(sys.executable, str(ROOT / "tests" / "relay.py"), f"{outside.fileno()}:{port}", "--",
                                  "sleep", "infinity")
            relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                     pass_fds=[outside.fileno()])
            try:
                assert relay.stdout.readline() == b"ready\n"
                yield
            finally:
                relay.communicate(timeout=20)


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A fresh Slurm with 8 made-up cores, 16 GB and one made-up GPU; it and its jobs end with the block."""
    need_service("slurmctld", "slurmd", "sbatch", package="slurm-wlm")
    need_service("munged", package="munge")
    need_service("unshare", "nsenter", "ip", package="util-linux iproute2")
    folder = Path(tempfile.mkdtemp(prefix="ailab-slurm-"))
    folder.chmod(0o755)
    _write(folder)
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
               "sh", "-c", _UP, "sh", str(folder), ADDRESS]
    outer = subprocess.Popen(passage.open_to_all(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}, start_new_session=True)
    try:
        if outer.stdout.readline() != b"ready\n":
            raise RuntimeError("".join(path.read_text(errors="replace") for path in folder.glob("*.log")))
        yield Slurm(folder, _first(outer.pid))
    finally:
        outer.stdin.close()
        try:
            outer.wait(timeout=10)
        finally:
            if outer.poll() is None:
                os.killpg(outer.pid, signal.SIGKILL)
            outer.stdout.close()
            shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path) -> None:
    (folder / "slurm.conf").write_text(_CONF.format(folder=folder, name=os.uname().nodename, address=ADDRESS))
    (folder / "gres.conf").write_text("Name=gpu Type=simulated File=/dev/null\n")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    people = "".join(f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh\n" for name, uid in PEOPLE.items())
    groups = "".join(f"{name}:x:{uid}:\n" for name, uid in PEOPLE.items())
    for name, more in {"passwd": people, "group": groups}.items():
        (folder / name).write_text(Path("/etc", name).read_text() + more)


def _first(pid: int) -> int:
    """The first process in there: unshare's child, which waits for standard input to end."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise RuntimeError("unshare has no child")
