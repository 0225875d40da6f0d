"""When a person's server is stopped: idle too long, or too old. Work that beats keeps it, age ends it all the same.

Whoever works is warned of the age too, and earlier, for a long program needs time to come to a good place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ailab_kernel.ground.activity import Beat

from .profiles import Profile

WARN_S, WARN_OF_AGE_S = 300.0, 1800.0


@dataclass(frozen=True)
class Verdict:
    """What becomes of a server.

    Attributes
    ----------
    act
        ``keep``, ``warn`` or ``stop``.
    why
        One line for the person.
    """

    act: str
    why: str


def judge(profile: Profile, *, started: float, active: float, beats: Sequence[Beat], now: float) -> Verdict:
    """Judge one server.

    Parameters
    ----------
    profile
        Its tier, which says how long it may be idle and how old it may become.
    started, active
        Unix times, s, of its start and of the person's last act in it.
    beats
        Work that goes on in it.
    now
        Unix time, s.
    """
    idle_s, age_s = profile.idle_minutes * 60, profile.max_hours * 3600
    ends = started + age_s
    if now >= ends:
        return Verdict("stop", f"your server was stopped at {_clock(now)}: it had run for {_span(age_s)}, the most "
                       f"that tier {profile.name} allows; programs were asked to write where they stand, and open "
                       "notebooks got a checkpoint; start it again: reports go on")  # fmt: skip
    due = max(started, active) + idle_s
    if now >= due and not beats:
        return Verdict("stop", f"your server was stopped at {_clock(now)}: nobody used it for {_span(idle_s)} and no "
                       f"cell, report or GPU was at work in it (tier {profile.name}); open notebooks got a checkpoint, "
                       "files are as they were saved")  # fmt: skip
    if ends - now <= min(WARN_OF_AGE_S, age_s / 2):
        return Verdict("warn", f"your server will be stopped at {_clock(ends)}: tier {profile.name} allows "
                       f"{_span(age_s)}, also to what runs; save your work")  # fmt: skip
    if beats:
        return Verdict("keep", "; ".join(f"{one.kind}: {one.what}" for one in beats))
    if due - now <= min(WARN_S, idle_s / 2):
        return Verdict("warn", f"your server will be stopped at {_clock(due)} unless it is used: tier {profile.name} "
                       f"keeps an idle one for {_span(idle_s)}")  # fmt: skip
    return Verdict("keep", "used lately")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
