"""A day of studies arriving at a tier: how long they wait, and at which load the service breaks.

A discrete-event simulation (simpy); for steady arrivals and exponential service times it agrees with the closed form
of the M/M/c queue (Erlang C), which a test holds to 3 %.
"""

import math
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import ParameterError

if TYPE_CHECKING:
    from simpy import Environment, Event, Resource

HOUR = 3600.0
# Studies an hour of a hospital's day as shares of the day's sum, from midnight on: quiet nights, a busy late morning.
HOSPITAL_DAY = (1, 1, 1, 1, 1, 2, 3, 6, 9, 10, 10, 9, 7, 8, 8, 7, 5, 3, 2, 2, 1, 1, 1, 1)
SERVICE_TIMES = ("exponential", "fixed")


@dataclass(frozen=True, kw_only=True)
class Load:
    """What arrives, and what works on it.

    Attributes
    ----------
    studies_per_day
        Arrivals.
    seconds
        Mean processing time of one study on one server.
    servers
        Studies that are processed at a time (GPUs, or workers).
    shape
        Share of the day's arrivals in each hour; one value for steady arrivals.
    service
        ``exponential`` or ``fixed`` processing times.
    """

    studies_per_day: float
    seconds: float
    servers: int = 1
    shape: tuple[float, ...] = HOSPITAL_DAY
    service: str = "exponential"

    def __post_init__(self) -> None:
        if self.studies_per_day <= 0 or self.seconds <= 0 or self.servers < 1:
            msg = "a load needs studies a day and seconds a study above 0, and a server at least"
            raise ParameterError(msg)
        if self.service not in SERVICE_TIMES or not self.shape or min(self.shape) < 0 or not sum(self.shape):
            msg = f"service is one of {', '.join(SERVICE_TIMES)}, and the day's shape has shares that are not negative"
            raise ParameterError(msg)

    @property
    def utilization(self) -> float:
        """Share of the servers' time that the day's work takes; above 1 the queue only grows."""
        return self.studies_per_day * self.seconds / (self.servers * 24 * HOUR)


@dataclass(frozen=True)
class Waits:
    """How long studies waited before they were worked on, s.

    Attributes
    ----------
    studies
        That arrived.
    mean, p50, p95, p99, longest
        Of the waiting times.
    """

    studies: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float


def simulate(load: Load, *, days: float = 1.0, seed: int = 7) -> Waits:
    """Let studies arrive for some days and return how long they waited."""
    import simpy

    world, chance = simpy.Environment(), random.Random(seed)
    waits: list[float] = []
    servers = simpy.Resource(world, capacity=load.servers)
    world.process(_arrivals(world, servers, _Day(load, chance, days * 24 * HOUR, waits)))
    world.run()
    return _waits(waits)


@dataclass(frozen=True, eq=False)
class _Day:
    load: Load
    chance: random.Random
    end: float
    waits: list[float]


def _arrivals(world: "Environment", servers: "Resource", day: _Day) -> "Generator[Event, None, None]":
    """Poisson arrivals whose rate follows the day's shape, by thinning (Lewis and Shedler 1979)."""
    hours = len(day.load.shape)
    mean = day.load.studies_per_day / (24 * HOUR)
    peak = mean * max(day.load.shape) * hours / sum(day.load.shape)
    while True:
        yield world.timeout(day.chance.expovariate(peak))
        if world.now >= day.end:
            return
        hour = int(world.now / (24 * HOUR / hours)) % hours
        if day.chance.random() * max(day.load.shape) < day.load.shape[hour]:
            world.process(_study(world, servers, day))


def _study(world: "Environment", servers: "Resource", day: _Day) -> "Generator[Event, None, None]":
    arrived = world.now
    with servers.request() as turn:
        yield turn
        day.waits.append(world.now - arrived)
        fixed = day.load.service == "fixed"
        yield world.timeout(day.load.seconds if fixed else day.chance.expovariate(1 / day.load.seconds))


def _waits(waits: Sequence[float]) -> Waits:
    if not waits:
        return Waits(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(waits)
    p50, p95, p99 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95, 0.99))
    return Waits(len(ordered), fmean(ordered), p50, p95, p99, ordered[-1])


def breaking_load(load: Load, *, longest_s: float = 600.0, seed: int = 7, precision: float = 0.01) -> float:
    """Return the studies a day up to which 95 of 100 wait no longer than ``longest_s``, to one part in a hundred."""
    low, high = 0.0, load.servers * 24 * HOUR / load.seconds
    while high - low > max(precision * high, 1e-6):
        middle = (low + high) / 2
        fine = simulate(replace(load, studies_per_day=middle), days=_days(middle), seed=seed).p95 <= longest_s
        low, high = (middle, high) if fine else (low, middle)
    return low


@dataclass(frozen=True)
class Point:
    """One point of a waiting-time curve: arrivals a day, and how long 50 and 95 of 100 wait at most, s."""

    studies_per_day: float
    p50: float
    p95: float


def waiting_curve(load: Load, *, upto: float = 0.0, points: int = 12, seed: int = 7) -> tuple[Point, ...]:
    """Return how long studies wait as more of them arrive.

    Parameters
    ----------
    load
        What works on them; its own ``studies_per_day`` is one of the points.
    upto
        The most arrivals a day that are looked at; 0 goes to the servers' whole time.
    points
        How many besides the load's own.
    seed
        Of the arrivals.
    """
    most = upto or load.servers * 24 * HOUR / load.seconds
    asked = sorted({load.studies_per_day, *(most * number / points for number in range(1, points + 1))})
    waits = (simulate(replace(load, studies_per_day=one), days=_days(one), seed=seed) for one in asked)
    return tuple(Point(one, wait.p50, wait.p95) for one, wait in zip(asked, waits, strict=True))


def _days(studies_per_day: float) -> float:
    """Enough days for a stable percentile, in whole days."""
    return float(max(1, math.ceil(4000 / studies_per_day)))


def erlang_wait(load: Load) -> float:
    """Return the mean wait of the M/M/c queue, s (Erlang 1917); infinite from full use on."""
    offered, servers = load.studies_per_day * load.seconds / (24 * HOUR), load.servers
    if offered >= servers:
        return math.inf
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    waiting = blocked / (1 - offered / servers * (1 - blocked))
    return waiting * load.seconds / (servers - offered)
