"""A site's answers made into the hub's files: the same answers give the same bytes.

The tiers are shares of the machine that the answers ask for (`fleet.sizing`); the systemd unit and the compose file
start the hub with them. ``tiers`` and ``slurm``'s options are tried by our tests; Kubernetes values are checked against
their chart's schema; the unit and the compose file are written from their programs' documentation and not run by us.
"""

from collections.abc import Callable

from ailab_kernel.ground.errors import WrongUse

from . import kubernetes, slurm
from .profiles import Profile, read_profiles
from .site import Site
from .sizing import Answers, Sizing, size

_HEAD = "# Written by `ailab hub render {kind}` from a site's answers: change the answers, not this file.\n"
# Tier: whom, cores, share of the site's memory, GPUs, idle minutes, hours, roles.
_SHARES = (
    ("pilot", "a workshop, a first look, annotation of one study", 1, 1 / 16, 0, 30, 8,
     "admin, data-scientist, radiologist, auditor, student"),
    ("small", "annotation, validation and inference of single studies", 2, 1 / 8, 0, 60, 24,
     "admin, data-scientist, radiologist"),
    ("medium", "fine-tuning, validation of a whole dataset", 4, 1 / 4, 1, 60, 48, "admin, data-scientist"),
    ("large", "training of new models, several at a time", 16, 1 / 2, 2, 30, 72, "data-scientist"),
)  # fmt: skip
_UPTO = {"pilot": 1, "small": 2, "medium": 3, "large": 4}


def render(kind: str, answers: Answers, *, site: Site | None = None) -> str:
    """Return one of the hub's files.

    Parameters
    ----------
    kind
        One of `KINDS`.
    answers
        Of the site.
    site
        Its image, name and GPUs, where the file holds them.

    Raises
    ------
    WrongUse
        Another kind, or an image without a tag.
    """
    if kind not in KINDS:
        msg = f"{kind[:40]!r} cannot be rendered; one of {', '.join(KINDS)} is expected"
        raise WrongUse(msg)
    return _HEAD.format(kind=kind) + KINDS[kind](size(answers), site or Site())


def _profiles(found: Sizing, site: Site) -> tuple[Profile, ...]:
    return read_profiles(_tiers(found, site))


def _tiers(found: Sizing, site: Site) -> str:
    """Tiers up to the site's size; on a site without GPUs of its own (pilot) none has one."""
    rows = []
    for name, whom, cores, share, gpus, idle, hours, roles in _SHARES[: _UPTO[found.tier.name]]:
        memory = max(2, round(found.tier.ram_gb * share))
        kind = f"  gpu_kind: {site.gpu_kind}\n" if gpus and site.gpu_kind else ""
        rows.append(f"{name}:\n  whom: {whom}\n  cpus: {cores}\n  memory_gb: {memory}\n  gpus: {gpus}\n{kind}"
                    f"  shm_gb: {max(1, memory // 4)}\n  idle_minutes: {idle}\n  max_hours: {hours}\n"
                    f"  groups: [{roles}]\n")  # fmt: skip
    return f"# Site: {found.tier.name}, at least {found.tier.ram_gb} GB of memory.\n" + "".join(rows)


def _systemd(found: Sizing, site: Site) -> str:
    return (
        "# Not run by us. Put it at /etc/systemd/system/ailab-hub.service; AI-LAB lies in /opt/ailab.\n"
        "[Unit]\nDescription=AI-LAB hub\nAfter=network.target\n\n"
        "[Service]\nWorkingDirectory=/opt/ailab\nEnvironment=AILAB_HOME=/var/lib/ailab\n"
        "Environment=AILAB_HUB_TIERS=/etc/ailab/tiers.yaml\n"
        "ExecStart=/opt/ailab/.venv/bin/ailab hub start\nRestart=on-failure\nStateDirectory=ailab\n"
        f"MemoryMax={found.tier.ram_gb}G\nProtectSystem=full\nPrivateTmp=true\n\n"
        "[Install]\nWantedBy=multi-user.target\n")  # fmt: skip


def _docker(found: Sizing, site: Site) -> str:
    return (
        "# Not run by us. The image holds AI-LAB and its environment; the port is published on loopback only.\n"
        "services:\n  hub:\n    image: ailab-hub:latest\n    command: [ailab, hub, start]\n"
        "    environment:\n      AILAB_HOME: /var/lib/ailab\n      AILAB_HUB_URL: http://0.0.0.0:8000\n"
        "      AILAB_HUB_TIERS: /etc/ailab/tiers.yaml\n"
        "    ports: ['127.0.0.1:8000:8000']\n"
        "    volumes: ['ailab:/var/lib/ailab', './tiers.yaml:/etc/ailab/tiers.yaml:ro']\n"
        f"    mem_limit: {found.tier.ram_gb}g\n    restart: unless-stopped\nvolumes:\n  ailab: {{}}\n")  # fmt: skip


def _slurm(found: Sizing, site: Site) -> str:
    """The hub's environment, what the cluster's operator sets, and what is asked of Slurm for each tier."""
    rows = [f"#   {one.name}: {' '.join(slurm.directives(one))}\n" for one in _profiles(found, site)]
    longest = max(one.max_hours for one in _profiles(found, site))
    return (
        "# The hub's environment (systemd: EnvironmentFile=). Hub and machines share the folders of lab and Python.\n"
        "AILAB_DEPLOYMENT=slurm\nAILAB_HUB_TIERS=/etc/ailab/tiers.yaml\n"
        f"# TLS ends in front of the hub, which passes https://{site.host} on to this port:\n"
        "AILAB_HUB_URL=http://0.0.0.0:8000\n"
        "# The hub's address on the cluster's network, which the machines reach and nobody else does:\n"
        "AILAB_HUB_HOST=10.0.0.1\n\n"
        "# slurm.conf: SelectType=select/cons_tres, SelectTypeParameters=CR_Core_Memory, GresTypes=gpu,\n"
        "#   ProctrackType=proctrack/cgroup, TaskPlugin=task/cgroup,task/affinity; a partition with\n"
        f"#   MaxTime={slurm.clock(longest)} or more.\n"
        "# cgroup.conf: ConstrainCores=yes, ConstrainRAMSpace=yes, ConstrainDevices=yes.\n"
        "# What the hub asks sbatch for:\n" + "".join(rows))  # fmt: skip


KINDS: dict[str, Callable[[Sizing, Site], str]] = {
    "tiers": _tiers, "systemd": _systemd, "docker": _docker, "slurm": _slurm,
    "kubernetes": lambda found, site: kubernetes.values(_profiles(found, site), site),
    "kubernetes-service": lambda found, site: kubernetes.service(_profiles(found, site), site),
}  # fmt: skip
