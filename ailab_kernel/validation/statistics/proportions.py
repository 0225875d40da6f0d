"""Shares of cases, each with two intervals: the one that is shown, and the stricter one that a gate goes by."""

from dataclasses import dataclass

from ailab_kernel.ground.errors import WrongUse


@dataclass(frozen=True)
class Proportion:
    """A share of independent cases.

    Attributes
    ----------
    successes, total
        Of so many.
    low, high
        Wilson's interval (JASA 1927): about as often right as it says, and shown.
    exact_low, exact_high
        Clopper and Pearson's (Biometrika 1934): at least as often right as it says, so gates go by it.
    """

    successes: int
    total: int
    low: float
    high: float
    exact_low: float
    exact_high: float

    @property
    def share(self) -> float:
        """The share itself; 0 of no cases."""
        return self.successes / self.total if self.total else 0.0


def proportion(successes: int, total: int, *, level: float = 0.95) -> Proportion:
    """Return a share with its intervals; of no cases they are 0 to 1.

    Parameters
    ----------
    successes, total
        Cases; independent ones, so at most one a patient.
    level
        Coverage wished for.

    Raises
    ------
    WrongUse
        More successes than cases, or fewer than none.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= total:
        msg = f"{successes} of {total} is no share: 0 to {total} successes are expected"
        raise WrongUse(msg)
    if not total:
        return Proportion(0, 0, 0.0, 1.0, 0.0, 1.0)
    found = binomtest(successes, total)
    shown, exact = (found.proportion_ci(level, method) for method in ("wilson", "exact"))
    return Proportion(successes, total, float(shown.low), float(shown.high), float(exact.low), float(exact.high))
