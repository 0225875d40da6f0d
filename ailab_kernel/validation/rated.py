"""What a detector found, or a classifier said, over all cases at once: read out of scored cases, shown and judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .detection import ScanFindings, case_scores

FINDINGS, PROBABILITIES = "findings", "probabilities"


@dataclass(frozen=True)
class Rated:
    """One case of a classifier.

    Attributes
    ----------
    case, patient
        Pseudonyms.
    probability
        Of the finding; None where the model failed, which counts as the surest mistake.
    truth
        Whether it is there.
    """

    case: str
    patient: str
    probability: float | None
    truth: bool

    @property
    def value(self) -> float:
        """The probability, or that of the surest mistake."""
        return float(not self.truth) if self.probability is None else self.probability


@dataclass(frozen=True)
class Whole:
    """What is measured over all cases at once.

    Attributes
    ----------
    scans
        Of a detector.
    rated
        Of a classifier.
    unread
        Cases of which not even the truth could be read.
    """

    scans: tuple[ScanFindings, ...] = ()
    rated: tuple[Rated, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Those that were read, in order."""
        return (*(one.case for one in self.scans), *(one.case for one in self.rated))

    @property
    def failed(self) -> set[str]:
        """Cases that failed or could not be read."""
        return {*self.unread, *(one.case for one in self.scans if one.failed),
                *(one.case for one in self.rated if one.probability is None)}  # fmt: skip

    @property
    def patients(self) -> set[str]:
        """Whose cases these are."""
        return {one.patient for one in self.scans} | {one.patient for one in self.rated}

    @property
    def repeated(self) -> int:
        """How many cases are a second one of a patient."""
        return len(self.cases) - len(self.patients)

    def sides(self) -> tuple[list[float], list[bool]]:
        """Return score and truth of each case, for areas: of a scan that of its surest finding.

        A case that failed lies beyond all others, on the wrong side.
        """
        if self.scans:
            return case_scores(self.scans)
        values = [one.value if one.probability is not None else (-1.0 if one.truth else 2.0) for one in self.rated]
        return values, [one.truth for one in self.rated]


def whole_of(scored: Sequence[Mapping[str, Any]], role: str) -> Whole:
    """Return what scored cases hold of one model over all cases at once; nothing where they hold masks alone.

    Parameters
    ----------
    scored
        What `scoring.score_findings` or `scoring.score_probability` gave, or ``{"key": case, "failed": reason}``.
    role
        ``model`` or ``baseline``.
    """
    scans = tuple(ScanFindings.of(one[FINDINGS][role]) for one in scored if role in one.get(FINDINGS, {}))
    rated = tuple(Rated(**one[PROBABILITIES][role]) for one in scored if role in one.get(PROBABILITIES, {}))
    unread = tuple(str(one.get("key")) for one in scored if "failed" in one) if scans or rated else ()
    return Whole(scans, rated, unread)
