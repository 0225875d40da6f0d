"""Slurm's side of a person's server, as words and numbers: a tier as ``#SBATCH`` lines, what ``squeue`` says of a job.

Nothing here starts a program; ``hub_config.slurm`` does. Options and states: sbatch(1), squeue(1), slurm.conf(5).
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ailab_kernel.ground.errors import SettingsError

from .profiles import Profile

# squeue's format (--format); the comment comes last, for a job's own user may write what he likes into it.
FORMAT = "%T|%r|%N|%P|%k"
_PORTS = range(1024, 65536)
_WAITS = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "STOPPED"}
_RUNS = {"RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT"}
_QUEUED = "Every machine of the cluster that fits is in use{place}; your server starts when one is free."
# Why a job waits (squeue(1), JOB REASON CODES), as beginnings: the first that fits is said.
_REASONS = (
    ("Resources", _QUEUED), ("Priority", _QUEUED),
    ("None", "The cluster is looking for a machine{place}."),
    ("PartitionTimeLimit", "This tier runs longer than the cluster's partition allows{place}: choose another tier, and "
                           "tell the hub's admin."),
    ("Partition", "The cluster's partition takes no work of this size now{place}; tell the hub's admin."),
    ("QOS", "The cluster's limit for people of your kind is reached{place}; end something of yours, or wait."),
    ("Assoc", "The cluster's limit for your account is reached{place}; end something of yours, or wait."),
    ("JobHeld", "The cluster's operator holds your server back{place}; ask the hub's admin why."),
    ("Nodes required", "The machines for this tier are down or kept for others{place}; tell the hub's admin."),
    ("ReqNodeNotAvail", "The machines for this tier are down or kept for others{place}; tell the hub's admin."),
    ("Reservation", "The cluster's machines are reserved{place}; your server starts after that."),
)  # fmt: skip
# How a job ended (squeue(1), JOB STATE CODES), for the person; ``{tier}``, ``{hours}`` and ``{gb}`` are the tier's.
_ENDS = {
    "TIMEOUT": "Your server was stopped: it had run for {hours:g} h, the most that tier {tier} allows.",
    "OUT_OF_MEMORY": "Out of memory: Slurm ended your server, which used more than the {gb:g} GB of tier {tier}. Next: "
                     "load less at a time, shut down idle kernels, or start a larger tier.",
    "CANCELLED": "Your server was ended with scancel, by you or by the cluster's operator.",
    "PREEMPTED": "Your server was ended for work that the cluster prefers; start it again.",
    "NODE_FAIL": "The machine that your server ran on failed; start it again.",
    "BOOT_FAIL": "The machine that your server was to run on did not start; start it again.",
    "FAILED": "Your server ended by itself with an error; .ailab/server.log in your folder says more.",
    "COMPLETED": "Your server was shut down from inside.",
}  # fmt: skip
_OTHER_END = "Your server's job ended ({state}); .ailab/server.log in your folder says more."


@dataclass(frozen=True)
class Job:
    """What Slurm says of one job.

    Attributes
    ----------
    state, reason
        Its state's long name, such as ``PENDING``, and why it is in it.
    node
        Name of the machine; empty before it has one.
    partition
        Where it waits or runs.
    port
        That the server listens on, as the job has said; 0 before.
    """

    state: str
    reason: str
    node: str
    partition: str
    port: int

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self.state in _WAITS

    @property
    def lives(self) -> bool:
        """Whether it waits or runs."""
        return self.waits or self.state in _RUNS


def job_of(line: str) -> Job | None:
    """Read a line of ``squeue --format=FORMAT``; None where it is none. A port is believed only if it can be one."""
    parts = line.strip().split("|", 4)
    if len(parts) != 5:
        return None
    state, reason, node, partition, comment = parts
    port = int(comment) if re.fullmatch(r"[0-9]{4,5}", comment) else 0
    return Job(state, reason, node, partition, port if port in _PORTS else 0)


def directives(profile: Profile) -> tuple[str, ...]:
    """Return a tier as sbatch's options: cores, memory, time, GPUs; one task on one machine, never started twice.

    Hours are rounded up to minutes, memory to MiB (``M`` of sbatch(1) is 2**20 bytes). Slurm gets a sixteenth more than
    the tier, and 128 MiB at least: the room ends one program at the tier's limit, before Slurm ends the whole server.
    """
    memory = profile.memory_gb * 1024
    kind = f":{profile.gpu_kind}" if profile.gpu_kind else ""
    gpus = (f"--gres=gpu{kind}:{profile.gpus}",) if profile.gpus else ()
    return (
        "--nodes=1", "--ntasks=1", "--no-requeue",
        f"--cpus-per-task={ceil(profile.cpus)}", f"--mem={ceil(memory + max(128, memory / 16))}M",
        f"--time={ceil(profile.max_hours * 60)}", *gpus,
    )  # fmt: skip


def clock(hours: float) -> str:
    """Return hours as Slurm writes them, such as ``3-00:00:00``."""
    minutes = ceil(hours * 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"


def script(options: Sequence[str], command: Sequence[str]) -> str:
    """Return a batch script that becomes ``command``.

    Raises
    ------
    SettingsError
        An option is more than one line, so that a part of it would run.
    """
    if broken := next((one for one in options if len(one.splitlines()) != 1), None):
        msg = f"Slurm option {broken[:60]!r}: one line is expected (deployments.yaml, or gpu_kind in tiers.yaml)"
        raise SettingsError(msg)
    return "#!/bin/sh\n" + "".join(f"#SBATCH {one}\n" for one in options) + f"exec {shlex.join(command)}\n"


def why_it_waits(job: Job, *, place: int = 0) -> str:
    """Say in plain words why a job waits; ``place`` is its place in the partition's queue, 0 if that is not told."""
    said = f"; you are number {place} in its queue" if place else ""
    told = next((words for begins, words in _REASONS if job.reason.startswith(begins)), "")
    return (told or f"The cluster lets your server wait{{place}} (Slurm says: {job.reason[:80]}).").format(place=said)


def why_it_ended(job: Job, profile: Profile) -> str:
    """Say in plain words how a job ended."""
    words = _ENDS.get(job.state, _OTHER_END)
    return words.format(tier=profile.name, hours=profile.max_hours, gb=profile.memory_gb, state=job.state[:40])


def place_of(job_id: str, queue: str) -> int:
    """Return a job's place among the ids that ``squeue`` prints by priority; 0 if it is not there."""
    ids = queue.split()
    return ids.index(job_id) + 1 if job_id in ids else 0


def held_by(config: str) -> str:
    """Say what holds limits, from what ``scontrol show config`` prints.

    With ``task/cgroup`` and ``ConstrainRAMSpace`` the kernel holds memory; else Slurm looks now and then and ends a job
    that uses too much (``OverMemoryKill``), or nobody does. Our own room counts as well, in each case.
    """
    told = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", config, re.MULTILINE))
    cgroup = "task/cgroup" in told.get("TaskPlugin", "")
    room = "the room in the job counts the memory of all its processes and above the limit ends the one that grows"
    if cgroup and told.get("ConstrainRAMSpace", "").lower() in {"yes", "true"}:
        return f"{room}; behind it Slurm's cgroup holds memory in the kernel, and ends a server at its tier's hours"
    if "OverMemoryKill" in told.get("JobAcctGatherParams", ""):
        every = told.get("JobAcctGatherFrequency", "30")
        return (f"{room}; Slurm looks every {every} s and ends the whole server above it (no cgroup holds it in the "
                "kernel), and at its tier's hours")  # fmt: skip
    return f"{room}; Slurm itself holds no memory limit here (see task/cgroup), and ends a server at its tier's hours"


def refusal(said: str) -> str:
    """Say in plain words why ``sbatch`` did not take a job, from what it wrote."""
    told = next((words for part, words in _REFUSALS if part in said), "")
    last = (said.strip().splitlines() or ["nothing was said"])[-1].removeprefix("sbatch: error: ")[:160]
    return told or f"The cluster did not take your server: {last}. Tell the hub's admin."


_REFUSALS = (
    ("node configuration is not available", "No machine of the cluster is as large as this tier, or has such GPUs; "
                                            "choose another tier, and tell the hub's admin."),
    ("Invalid partition", "The cluster has no such partition; the hub's admin sets it in deployments.yaml (slurm)."),
    ("Unable to contact", "The cluster's controller does not answer; try again in some minutes, or tell the admin."),
    ("Invalid account", "Your account may not use the cluster yet; ask its operator."),
    ("AssocMax", "The cluster's limit for your account is reached; end something of yours first."),
    ("QOSMax", "The cluster's limit for people of your kind is reached; end something of yours first."),
)  # fmt: skip
