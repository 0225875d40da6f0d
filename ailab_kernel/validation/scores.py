"""What a study shows of scores and probabilities: FROC, area under the ROC curve, calibration; nothing without them.

A scored case may hold, beside the figures of its masks, by role of the model:

- ``findings``: a scan's lesions, `detection.ScanFindings` made plain (``dataclasses.asdict``);
- ``probabilities``: `rated.Rated` made plain; a probability of null is a case that failed, which counts as the worst.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .calibration import Calibration, calibration
from .detection import Froc, froc
from .rated import FINDINGS, PROBABILITIES, Whole, whole_of
from .statistics import FEW, Auc, AucDifference, auc, compare_auc

_MEANINGS = {
    "froc": ("FROC", "share of the lesions found, by how many findings a scan that are none are put up with; the mean "
                     "is over the seven numbers shown"),
    "auc": ("AUC", "chance that a case with the finding scores higher than one without: 1 is perfect, 0.5 is a coin"),
    "calibration": ("Brier score, calibration error", "squared, and mean, distance of the stated probability from what "
                                                      "was so: 0 is perfect"),
}  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """Figures of scores and probabilities, by the model's name; empty where a study has none.

    Attributes
    ----------
    froc, auc, calibration
        By the model's name.
    unread
        Cases of which not even the truth could be read: they are in no figure here, and the table says so.
    difference
        Of the areas, the first model's minus the second's, on the same cases; None where there is no second, or fewer
        than ten cases with the finding or without it.
    """

    froc: Mapping[str, Froc] = field(default_factory=dict)
    auc: Mapping[str, Auc] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    unread: int = 0
    difference: AucDifference | None = None

    def __bool__(self) -> bool:
        return bool(self.froc or self.auc or self.calibration)

    def meanings(self) -> list[list[str]]:
        """Return what each figure that is shown means, as rows of a table."""
        return [list(told) for kind, told in _MEANINGS.items() if getattr(self, kind)]

    def in_words(self, name: str) -> dict[str, str]:
        """Return title and figure of whatever one model has, as a sentence quotes them."""
        found = {}
        if one := self.froc.get(name):
            found["FROC"] = f"mean sensitivity {one.mean:.3f}, {one.lesions} lesions in {one.scans} scans"
        if area := self.auc.get(name):
            found["AUC"] = _area(area)
        if told := self.calibration.get(name):
            found["Calibration"] = f"Brier {told.brier:.3f}, error {told.ece:.3f}, {told.n} cases"
        return found

    def as_metrics(self) -> dict[str, Any]:
        """Return plain JSON by model, for a replay to reproduce; ``difference`` where two were compared."""
        names = dict.fromkeys([*self.froc, *self.auc, *self.calibration])
        told = {key: round(value, 6) for key, value in vars(self.difference).items()} if self.difference else {}
        return {name: _plain(self, name) for name in names} | ({"difference": told} if told else {})

    def _repr_html_(self) -> str:
        parts = [f"<h3>{html.escape(name)}: lesions</h3>{one._repr_html_()}" for name, one in self.froc.items()]
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{_area(one)}</td><td>{one.positives}</td>"
                       f"<td>{one.negatives}</td></tr>" for name, one in self.auc.items())  # fmt: skip
        if rows:
            head = "".join(f"<th>{cell}</th>" for cell in ("model", "AUC (95 % interval)", "with it", "without it"))
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
        if missing := [name for name in {**self.froc, **self.calibration} if name not in self.auc]:
            parts.append(f'<p class="note">{html.escape(", ".join(missing))}: no area under the ROC curve; it takes '
                         "cases with and without the finding, one a patient.</p>")  # fmt: skip
        if self.difference and len(self.auc) > 1:
            first, second = list(self.auc)[:2]
            parts.append(f"<p>AUC of {html.escape(first)} minus that of {html.escape(second)} on the same cases "
                         f"(DeLong): {_difference(self.difference)}.</p>")  # fmt: skip
        parts += [f"<h3>{html.escape(name)}: calibration</h3>{one._repr_html_()}"
                  for name, one in self.calibration.items()]  # fmt: skip
        if self.unread:
            parts.append(f'<p class="failure">{self.unread} cases could not be read at all, so that nobody knows '
                         "whether they have the finding: they are in none of these figures.</p>")  # fmt: skip
        return "".join(parts)


def scores_of(scored: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Scores:
    """Return the figures of scores and probabilities that scored cases hold.

    A case of which not even the truth could be read cannot count as wrong; such cases are counted (``unread``).

    Parameters
    ----------
    scored
        What `cases.score_case` gave.
    names
        The model's name by role, in the order in which they are to be shown.
    """
    wholes = {role: whole_of(scored, role) for role in names}
    unread = sum(not (one.get(FINDINGS) or one.get(PROBABILITIES)) for one in scored)
    found = Scores({}, {}, {}, unread, _compared(list(wholes.values())))
    for role, name in names.items():
        whole = wholes[role]
        if any(scan.found for scan in whole.scans):
            found = _with(found, "froc", {name: froc(whole.scans)})
        scores, truth = whole.sides()
        if len(set(truth)) > 1 and not whole.repeated:
            found = _with(found, "auc", {name: auc(scores, truth)})
        if whole.rated:
            stated = calibration([one.value for one in whole.rated], [one.truth for one in whole.rated])
            found = _with(found, "calibration", {name: stated})
    return found


def _compared(wholes: Sequence[Whole]) -> AucDifference | None:
    """Difference of the first two models' areas; None where they have not scored the same cases, or too few."""
    if len(wholes) < 2 or wholes[0].cases != wholes[1].cases or wholes[0].repeated:
        return None
    (first, truth), (second, _) = (one.sides() for one in wholes[:2])
    if min(sum(truth), len(truth) - sum(truth)) < FEW:
        return None
    return compare_auc(second, first, truth)


def _difference(one: AucDifference) -> str:
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f}), p = {one.p:.3f}"


def _with(found: Scores, kind: str, more: Mapping[str, Any]) -> Scores:
    return Scores(**{**vars(found), kind: {**getattr(found, kind), **more}})


def _area(one: Auc) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _plain(found: Scores, name: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if one := found.froc.get(name):
        at = {f"{rate:g}": round(value, 6) for rate, value in zip(one.rates, one.at_rates, strict=True)}
        told["froc"] = {"at": at, "mean": round(one.mean, 6), "lesions": one.lesions, "scans": one.scans}
    if area := found.auc.get(name):
        told["auc"] = {key: round(getattr(area, key), 6) for key in ("value", "low", "high")}
    if curve := found.calibration.get(name):
        told["calibration"] = {key: round(getattr(curve, key), 6) for key in ("brier", "ece", "ece_mass")}
    return told
