"""What was not taken, and why: one value for files, instances and series."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refused:
    """What was set aside, by UID or number and never by a file's or a patient's name, and why."""

    what: str
    reason: str
