"""Whether probabilities mean what they say: Brier score, calibration error, and the reliability curve as values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import WrongUse

from .statistics import proportion

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Cases of about one probability.

    Attributes
    ----------
    above, upto
        The probabilities that fall in it; its lower end does not, but for 0 in the first.
    n
        Cases.
    predicted, observed
        Mean probability, and the share that has the finding.
    low, high
        Wilson's 95 % interval of that share.
    """

    above: float
    upto: float
    n: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """How well probabilities are calibrated.

    Attributes
    ----------
    brier
        Mean squared difference of probability and outcome, 0 best (Brier 1950).
    ece
        Expected calibration error over bins of equal width: mean distance of observed share and mean probability,
        weighted by the bins' cases (Naeini et al., AAAI 2015).
    ece_mass
        The same over bins of about equally many cases, which does not hang on a few crowded bins.
    largest_gap
        The largest distance of the bins of equal width.
    bins, mass_bins
        Both reliability curves; bins without a case are left out.
    n
        Cases.
    """

    brier: float
    ece: float
    ece_mass: float
    largest_gap: float
    bins: tuple[ReliabilityBin, ...]
    mass_bins: tuple[ReliabilityBin, ...]
    n: int

    def _repr_html_(self) -> str:
        figures = (("Brier score", self.brier), ("calibration error (ECE), bins of equal width", self.ece),
                   ("the same, bins of equal size", self.ece_mass), ("largest gap", self.largest_gap))  # fmt: skip
        body = "".join(f"<tr><td>{title}</td><td>{value:.3f}</td></tr>" for title, value in figures)
        rows = "".join(f"<tr><td>{one.above:.2f} to {one.upto:.2f}</td><td>{one.n}</td><td>{one.predicted:.3f}</td>"
                       f"<td>{one.observed:.3f} ({one.low:.3f} to {one.high:.3f})</td></tr>"
                       for one in self.bins)  # fmt: skip
        head = "<th>probability</th><th>cases</th><th>mean probability</th><th>observed share (95 % interval)</th>"
        return (f"<table><tbody>{body}</tbody></table>"
                f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")  # fmt: skip


def calibration(probabilities: Sequence[float], truth: Sequence[bool], *, bins: int = BINS) -> Calibration:
    """Return how well the probabilities of a finding agree with how often it was there.

    Parameters
    ----------
    probabilities
        Of the finding, 0 to 1, one a case.
    truth
        Whether each case has it.
    bins
        How many bins the errors are worked out over; a value means little without their number.

    Raises
    ------
    WrongUse
        There is no case, lengths differ, or a probability is not from 0 to 1.
    """
    values, found = np.asarray(probabilities, float), np.asarray(truth, bool)
    if values.ndim != 1 or values.shape != found.shape or not values.size or bins < 1:
        msg = f"{values.size} probabilities for {found.size} cases in {bins} bins: one a case, and a bin, are expected"
        raise WrongUse(msg)
    if not ((values >= 0) & (values <= 1)).all():
        msg = "a probability is not from 0 to 1; logits and scores have to be turned into probabilities first"
        raise WrongUse(msg)
    width = _curve(values, found, np.linspace(0, 1, bins + 1))
    mass = _curve(values, found, np.quantile(values, np.linspace(0, 1, bins + 1)))
    return Calibration(float(((values - found) ** 2).mean()), _error(width), _error(mass), max(map(_gap, width)),
                       width, mass, values.size)  # fmt: skip


def _curve(values: np.ndarray, found: np.ndarray, edges: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Cases by bin; equal probabilities always share one, so that the order of the cases decides nothing."""
    number = np.searchsorted(edges[1:-1], values)
    return tuple(_bin(values[here], found[here], (float(edges[one]), float(edges[one + 1])))
                 for one in range(len(edges) - 1) if (here := number == one).any())  # fmt: skip


def _bin(values: np.ndarray, found: np.ndarray, ends: tuple[float, float]) -> ReliabilityBin:
    share = proportion(int(found.sum()), found.size)
    return ReliabilityBin(*ends, found.size, float(values.mean()), share.share, share.low, share.high)


def _gap(one: ReliabilityBin) -> float:
    return abs(one.observed - one.predicted)


def _error(curve: tuple[ReliabilityBin, ...]) -> float:
    return sum(one.n * _gap(one) for one in curve) / sum(one.n for one in curve)
