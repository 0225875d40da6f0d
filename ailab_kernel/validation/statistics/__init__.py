"""How sure a figure is: intervals and tests that take the patient as the unit."""

from .auc import Auc, AucDifference, auc, auc_bound, compare_auc
from .bounds import STRICTER, Bound, doubts, ece_bound, mean_bound, outliers
from .means import FEW, Interval, mean_interval
from .paired import NonInferiority, holm, mcnemar_p, non_inferiority, paired_p, rank_sum_p
from .planning import MINIMUM, patients_for_mean, patients_for_share, patients_for_threshold
from .proportions import Proportion, proportion

__all__ = [
    "FEW", "MINIMUM", "STRICTER", "Auc", "AucDifference", "Bound", "Interval", "NonInferiority", "Proportion", "auc",
    "auc_bound", "compare_auc", "doubts", "ece_bound", "holm", "mcnemar_p", "mean_bound", "mean_interval",
    "non_inferiority", "outliers", "paired_p", "patients_for_mean", "patients_for_share", "patients_for_threshold",
    "proportion", "rank_sum_p",
]  # fmt: skip
