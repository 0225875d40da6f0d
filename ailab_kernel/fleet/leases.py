"""Devices that are lent: never one to two people, and whoever waits longest is served first."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ailab_kernel.ground.errors import SettingsError, WrongUse


@dataclass(frozen=True)
class Device:
    """One GPU: ``id`` as ``CUDA_VISIBLE_DEVICES`` takes it, and its kind."""

    id: str
    kind: str


@dataclass(frozen=True)
class Wish:
    """What somebody waits for."""

    who: str
    count: int
    kind: str

    def fits(self, device: Device) -> bool:
        """Whether a device is of the kind that is wished for."""
        return self.kind in {"", device.kind}


class Leases:
    """Who holds which device, and who waits. One event loop uses it: nothing here is locked."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = tuple(devices)
        self._held: dict[str, tuple[str, ...]] = {}
        self._queue: list[Wish] = []

    @property
    def devices(self) -> tuple[Device, ...]:
        """Every device, lent or free."""
        return self._devices

    @property
    def most(self) -> int:
        """The most devices that anybody can ask for."""
        return len(self._devices)

    def held(self, who: str) -> tuple[str, ...]:
        """Ids of the devices that somebody holds."""
        return self._held.get(who, ())

    def ask(self, who: str, count: int, kind: str = "") -> int:
        """Ask for devices and return the place in the queue: 0 holds them now.

        Parameters
        ----------
        who
            A person's server; whoever holds devices already gives them back first.
        count
            How many, at least 1.
        kind
            Of which kind; empty takes any.

        Raises
        ------
        WrongUse
            More than there are on this machine, so that waiting would never end.
        """
        wish = Wish(who, count, kind)
        self.check(count, kind)
        self.release(who)
        self._queue.append(wish)
        self._serve()
        return self.place(who)

    def check(self, count: int, kind: str = "") -> None:
        """Raise WrongUse when this machine does not have so many devices, lent or free."""
        there = sum(Wish("", count, kind).fits(device) for device in self._devices)
        if count > there:
            msg = (f"{count} GPU{'s' * (count > 1)} {kind or 'of any kind'} asked for, this machine has {there}; "
                   "choose a tier with fewer")  # fmt: skip
            raise WrongUse(msg)

    def place(self, who: str) -> int:
        """Place in the queue; 0 for whoever holds devices or does not wait."""
        waiting = [wish.who for wish in self._queue]
        return waiting.index(who) + 1 if who in waiting else 0

    def release(self, who: str) -> None:
        """Give everything back, or leave the queue."""
        self._held.pop(who, None)
        self._queue = [wish for wish in self._queue if wish.who != who]
        self._serve()

    def restore(self, who: str, ids: Sequence[str]) -> None:
        """Note devices that a server holds already, after the hub was started again; what is taken stays taken."""
        known = {device.id for device in self._devices} - {one for held in self._held.values() for one in held}
        self._held[who] = tuple(one for one in ids if one in known)

    def _serve(self) -> None:
        """Serve in order; devices that an earlier wish waits for are kept for it, so that large wishes end too."""
        taken = {one for held in self._held.values() for one in held}
        free = [device for device in self._devices if device.id not in taken]
        for wish in list(self._queue):
            fitting = [device for device in free if wish.fits(device)]
            if len(fitting) >= wish.count:
                fitting = fitting[: wish.count]
                self._held[wish.who] = tuple(device.id for device in fitting)
                self._queue.remove(wish)
            free = [device for device in free if device not in fitting]


class LentElsewhere(Leases):
    """Devices that a cluster's scheduler lends: nothing is refused, lent or queued for here."""

    def __init__(self) -> None:
        super().__init__(())

    @property
    def most(self) -> int:
        """Not known here."""
        return sys.maxsize

    def ask(self, who: str, count: int, kind: str = "") -> int:
        """Take any wish: the scheduler lets it wait."""
        return 0

    def check(self, count: int, kind: str = "") -> None:
        """Take any wish: the scheduler refuses what its machines do not have."""


def devices_of(text: str) -> tuple[Device, ...]:
    """Read a device list such as ``a100*2, t4*1``; an empty text is no device.

    Raises
    ------
    SettingsError
        Not of that form.
    """
    kinds: list[str] = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        kind, _, count = part.partition("*")
        if not kind or not count.isdecimal():
            msg = f"GPUs {part!r}: KIND*COUNT is expected, such as a100*2"
            raise SettingsError(msg)
        kinds += [kind.strip()] * int(count)
    return tuple(Device(str(number), kind) for number, kind in enumerate(kinds))


def devices_here() -> tuple[Device, ...]:
    """Return the NVIDIA devices of this machine, as ``nvidia-smi`` lists them; none where it is absent."""
    command = ["nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (line.split(",", 1) for line in listed.splitlines() if "," in line)
    return tuple(Device(index.strip(), name.strip().lower().replace(" ", "-")) for index, name in rows)
