"""Compute on a Slurm cluster: workers are jobs, which dask-jobqueue submits; they end with the program that asked.

``slurm://PARTITION?workers=4&cpus=2&memory_gb=8&hours=4&gpus=1&account=lab&host=10.0.0.1&folder=/shared/tmp``; each is
optional, and an empty partition is the cluster's default. ``host`` is this machine's address as the workers reach it:
by default the one on the way to Slurm's controller. ``folder`` is seen by the workers at the same place, as Python is:
it holds the certificate of the moment, without which nobody speaks to scheduler or workers.
"""

import logging
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from ailab_kernel.ground.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster

_LOOPBACK = "127.0.0.1:0"
_ANSWER_S, _ORPHAN_S = 30, 120
_NAMES = r"[\w.\-]*"


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """What is asked of Slurm.

    Attributes
    ----------
    partition, account
        Names; empty takes the cluster's or the person's default.
    workers
        Jobs, each one worker that does one case at a time.
    cpus, memory_gb, gpus, hours
        Of each job: cores, GiB, devices, and the time after which Slurm ends it.
    host
        This machine's address as workers reach it; empty finds it.
    folder
        Shared with the workers, for the certificate of the moment.
    """

    partition: str = ""
    account: str = ""
    workers: int = 2
    cpus: int = 2
    memory_gb: float = 8.0
    gpus: int = 0
    hours: float = 4.0
    host: str = ""
    folder: str = "~"


def read_url(url: str) -> Jobs:
    """Read a ``slurm://`` address.

    Raises
    ------
    SettingsError
        Not of that form; the part that does not fit is named.
    """
    parts = urlsplit(url)
    told = dict(parse_qsl(parts.query, keep_blank_values=True))
    kinds = {one.name: type(one.default) for one in fields(Jobs) if one.name != "partition"}
    unknown = sorted(set(told) - set(kinds))
    if parts.scheme != "slurm" or parts.path not in {"", "/"} or unknown or not url.startswith("slurm://"):
        what = f"{', '.join(unknown)} is unknown" if unknown else "not of this form"
        form = "&".join(f"{name}=..." for name in kinds)
        msg = f"compute = {url[:120]!r}: {what}; slurm://PARTITION?{form} is expected"
        raise SettingsError(msg)
    return Jobs(partition=_name(url, "partition", parts.netloc), **{name: _value(url, name, kinds[name], text)
                                                                    for name, text in told.items()})  # fmt: skip


def _value(url: str, name: str, kind: type, text: str) -> Any:
    if kind is str:
        return text if name == "folder" else _name(url, name, text)
    least = 0 if name == "gpus" else 1 if kind is int else 0.01
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value < 1e6:
        msg = f"compute = {url[:120]!r}: {name} = {text[:40]!r}; a number from {least} on is expected"
        raise SettingsError(msg)
    return value


def _name(url: str, name: str, text: str) -> str:
    """A name of Slurm's, or an address: it becomes a line of the job's script, so no blank or line break is in it."""
    if not re.fullmatch(_NAMES, text):
        msg = f"compute = {url[:120]!r}: {name} has other characters than letters, digits, '.', '_' and '-'"
        raise SettingsError(msg)
    return text


def open_slurm(url: str) -> "SLURMCluster":
    """Submit the jobs and return their cluster; work is taken on as each of them starts.

    Raises
    ------
    SettingsError
        The address is not of its form, or Slurm does not answer.
    MissingExtra
        dask-jobqueue is not installed.
    """
    jobs = read_url(url)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        msg = "compute on Slurm needs dask-jobqueue: pip install 'ailab-kernel[slurm]'"
        raise MissingExtra(msg) from None
    folder = Path(jobs.folder).expanduser()
    cluster = SLURMCluster(
        **_shape(jobs), security=True, shared_temp_directory=str(folder), death_timeout=_ORPHAN_S,
        scheduler_options={"host": jobs.host or own_address(), "dashboard_address": _LOOPBACK},
        worker_extra_args=["--dashboard-address", _LOOPBACK], silence_logs=logging.CRITICAL, job_name="ailab-dask",
        log_directory=None, config_name="slurm",
    )  # fmt: skip
    cluster.scale(jobs=jobs.workers)
    return cluster


def _shape(jobs: Jobs) -> Mapping[str, Any]:
    """The job as dask-jobqueue takes it: one process that does one case at a time and may use every core of the job."""
    more = ["--no-requeue", "--output=/dev/null", *([f"--gres=gpu:{jobs.gpus}"] if jobs.gpus else [])]
    minutes = max(1, round(jobs.hours * 60))
    return {
        "queue": jobs.partition or None, "account": jobs.account or None,
        "walltime": f"{minutes // 60:02}:{minutes % 60:02}:00", "cores": 1, "job_cpu": jobs.cpus, "processes": 1,
        "memory": f"{jobs.memory_gb} GiB", "job_mem": f"{round(jobs.memory_gb * 1024)}M",
        "job_extra_directives": more, "job_script_prologue": [f"export OMP_NUM_THREADS={jobs.cpus}"],
    }  # fmt: skip


def own_address() -> str:
    """Return this machine's address on the way to Slurm's controller.

    Raises
    ------
    SettingsError
        Slurm is not installed here, or does not answer.
    """
    try:
        said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=_ANSWER_S).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = type(error).__name__
        msg = f"compute on Slurm: scontrol does not answer ({reason}); install Slurm's programs, or use local"
        raise SettingsError(msg) from None
    found = re.search(r"^SlurmctldHost\[0\]\s*=\s*([^\s(]+)(?:\(([^)]+)\))?", said, re.MULTILINE)
    if not found:
        msg = "compute on Slurm: its controller is not known here (scontrol show config); ask the cluster's operator"
        raise SettingsError(msg)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((found[2] or found[1], 9))  # UDP: nothing is sent, only the way is looked up
        return way.getsockname()[0]
