"""Tiers that the hub offers, read from ``tiers.yaml``, and who may have which.

The four sizes of the seed are of whole sites (`fleet.tiers`); a tier here is the share of it that one person's server
gets. The hub checks every wish with `choose`, however it came: by the form, by an address, or posted by hand.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ailab_kernel.ground.errors import SettingsError, WrongUse

ROLES = ("admin", "data-scientist", "radiologist", "auditor", "student")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One tier.

    Attributes
    ----------
    name, whom
        Kebab-case name; who it is for, in words.
    cpus
        Cores that the whole server may keep busy.
    memory_gb
        Memory of the whole server, GiB: every process of it counts.
    gpus, gpu_kind
        Devices that are leased, and their kind; an empty kind takes any.
    shm_gb
        Shared memory (``/dev/shm``), GiB, where the deployment has its own; it counts in ``memory_gb``.
    idle_minutes, max_hours
        How long an idle server is kept, and how old any may become.
    groups
        Roles that may have it.
    price_per_hour
        For the bill; no currency is meant.
    """

    name: str
    whom: str = ""
    cpus: float
    memory_gb: float
    gpus: int = 0
    gpu_kind: str = ""
    shm_gb: float = 0.0
    idle_minutes: float = 60.0
    max_hours: float = 24.0
    groups: tuple[str, ...] = ()
    price_per_hour: float = 0.0

    @property
    def size(self) -> str:
        """In words: ``2 cores, 4 GB, 1 GPU``."""
        kind = f" ({self.gpu_kind})" if self.gpu_kind else ""
        gpus = f"{self.gpus} GPU{'s' * (self.gpus > 1)}{kind}" if self.gpus else "no GPU"
        return f"{self.cpus:g} core{'s' * (self.cpus != 1)}, {self.memory_gb:g} GB, {gpus}"


def read_profiles(text: str) -> tuple[Profile, ...]:
    """Read ``tiers.yaml``: a mapping of a tier's name to its values, smallest first.

    Raises
    ------
    SettingsError
        Not YAML, an unknown key, a value of another kind, or an unknown role; tier and key are named.
    """
    import yaml

    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"tiers.yaml is no YAML: {str(error).splitlines()[0]}"
        raise SettingsError(msg) from None
    if not isinstance(told, dict) or not told:
        msg = "tiers.yaml: a mapping of tiers is expected, such as 'small: {cpus: 2, memory_gb: 4, groups: [student]}'"
        raise SettingsError(msg)
    return tuple(_profile(str(name), values) for name, values in told.items())


def _profile(name: str, values: Any) -> Profile:
    kinds = {one.name: one.type for one in fields(Profile) if one.name != "name"}
    given = values if isinstance(values, dict) else {}
    unknown = sorted(set(given) - set(kinds))
    missing = sorted({"cpus", "memory_gb", "groups"} - set(given))
    if unknown or missing:
        told = f"unknown {', '.join(unknown)}" if unknown else f"{', '.join(missing)} is missing"
        msg = f"tiers.yaml, tier {name!r}: {told}; known are {', '.join(kinds)}"
        raise SettingsError(msg)
    for key, value in given.items():
        _check(name, key, value)
    return Profile(name=name, **{**given, "groups": tuple(given["groups"])})


def _check(name: str, key: str, value: Any) -> None:
    kind = type(getattr(Profile, key, 1.0))
    fits: bool
    if key == "groups":
        fits = isinstance(value, list) and set(value) <= set(ROLES)
        expected = f"a list of {', '.join(ROLES)}"
    elif kind is str:
        fits, expected = isinstance(value, str), "a text"
    else:
        least = 0.0 if key in {"gpus", "shm_gb", "price_per_hour"} else 1e-9
        fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        fits, expected = fits and least <= value < float("inf"), "a number that is large enough"
    if not fits:
        msg = f"tiers.yaml, tier {name!r}: {key} = {value!r}; {expected} is expected"
        raise SettingsError(msg)


def allowed(profiles: Sequence[Profile], groups: Collection[str]) -> tuple[Profile, ...]:
    """Return the tiers that members of these groups may have, in the file's order."""
    return tuple(one for one in profiles if set(one.groups) & set(groups))


def choose(profiles: Sequence[Profile], groups: Collection[str], *, name: str = "") -> Profile:
    """Return the tier that a person asked for, or the first that is allowed when none was named.

    Raises
    ------
    WrongUse
        No tier is open to the groups, there is none of that name, or it is not open to them.
    """
    mine = allowed(profiles, groups)
    if not mine:
        msg = ("no tier is open to you: your account is in none of the groups that have one; ask the hub's admin to "
               "add you to your role")  # fmt: skip
        raise WrongUse(msg)
    if not name:
        return mine[0]
    found = [one for one in mine if one.name == name]
    if not found:
        state = "is not open to your groups" if name in {one.name for one in profiles} else "does not exist"
        msg = f"tier {name[:40]!r} {state}; choose one of {', '.join(one.name for one in mine)}"
        raise WrongUse(msg)
    return found[0]


def larger(profiles: Sequence[Profile], groups: Collection[str], *, than: Profile) -> Profile | None:
    """Return the allowed tier with the next more memory, if there is one."""
    more = [one for one in allowed(profiles, groups) if one.memory_gb > than.memory_gb]
    return min(more, key=lambda one: one.memory_gb, default=None)
