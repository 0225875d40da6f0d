"""Sensitivity against false positives per scan, over every threshold of the score (Bunch et al., Proc SPIE 1977)."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import WrongUse

from .matching import ScanFindings

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Froc:
    """A FROC curve as values, from the highest threshold to the lowest.

    Attributes
    ----------
    thresholds
        Each score that occurs, falling; the curve starts before the first, where nothing is called.
    false_positives_per_scan, sensitivity
        At and above each threshold.
    at_rates
        Sensitivity that is reached without more false positives per scan than each of ``rates``: that of a real
        threshold, nothing is interpolated; 0 where every threshold has more.
    rates
        False positives per scan.
    lesions, scans
        How many the curve is made of.
    """

    thresholds: tuple[float, ...]
    false_positives_per_scan: tuple[float, ...]
    sensitivity: tuple[float, ...]
    at_rates: tuple[float, ...]
    rates: tuple[float, ...]
    lesions: int
    scans: int

    @property
    def mean(self) -> float:
        """Mean sensitivity over the rates (the score of LUNA16, which interpolates)."""
        return float(np.mean(self.at_rates))

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{html.escape(f'{rate:g}')}</th>" for rate in self.rates)
        cells = "".join(f"<td>{value:.3f}</td>" for value in (*self.at_rates, self.mean))
        note = f'<p class="note">{self.lesions} lesions in {self.scans} scans.</p>'
        return (f"<table><thead><tr><th>false positives per scan</th>{heads}<th>mean</th></tr></thead>"
                f"<tbody><tr><td>sensitivity</td>{cells}</tr></tbody></table>{note}")  # fmt: skip


def froc(scans: Sequence[ScanFindings], *, rates: Sequence[float] = RATES) -> Froc:
    """Return the FROC curve over all scans, with and without lesions.

    A scan that failed counts its lesions as missed and one false positive at every threshold.

    Parameters
    ----------
    scans
        What `match_scan` and `failed_scan` gave.
    rates
        False positives per scan at which the sensitivity is read off.

    Raises
    ------
    WrongUse
        No scan has a lesion.
    """
    lesions = sum(len(one.found) for one in scans)
    if not lesions:
        msg = f"{len(scans)} scans without a lesion: sensitivity needs at least one"
        raise WrongUse(msg)
    hits = np.sort([score for one in scans for score in one.found if score is not None])
    false = np.sort([score for one in scans for score in one.false_scores])
    failed = sum(one.failed for one in scans)
    thresholds = np.unique(np.concatenate([hits, false]))[::-1]
    found = (len(hits) - np.searchsorted(hits, thresholds)) / lesions
    per_scan = (failed + len(false) - np.searchsorted(false, thresholds)) / len(scans)
    reached = tuple(float(found[per_scan <= rate].max(initial=0.0)) for rate in rates)
    return Froc(tuple(thresholds.tolist()), tuple(per_scan.tolist()), tuple(found.tolist()), reached, tuple(rates),
                lesions, len(scans))  # fmt: skip
