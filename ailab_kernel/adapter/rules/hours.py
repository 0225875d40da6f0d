"""When work that is not pressing may run: between two times of the day, and on the whole of Saturday and Sunday."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

_SATURDAY = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Hours:
    """Off-peak hours, by this machine's clock and time zone.

    Attributes
    ----------
    first, last
        From when to when; over midnight where the first is the later one.
    weekend
        Whether all of Saturday and Sunday belongs to them.
    """

    first: time
    last: time
    weekend: bool = False

    @property
    def length_s(self) -> float:
        """How long they last on a weekday, seconds."""
        return ((_minutes(self.last) - _minutes(self.first)) % (24 * 60) or 24 * 60) * 60.0

    def begin(self, now: float) -> float:
        """Return when they begin next, seconds since 1970; ``now`` itself within them."""
        moment = datetime.fromtimestamp(now)
        if self._within(moment):
            return now
        midnight = datetime.combine(moment.date(), time()) + _DAY
        begin = datetime.combine(moment.date(), self.first)
        begin = begin if begin > moment else begin + _DAY
        if self.weekend and midnight.weekday() == _SATURDAY:
            begin = min(begin, midnight)
        return begin.timestamp()

    def _within(self, moment: datetime) -> bool:
        if self.weekend and moment.weekday() >= _SATURDAY:
            return True
        at = moment.time()
        return self.first <= at < self.last if self.first < self.last else at >= self.first or at < self.last


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute
