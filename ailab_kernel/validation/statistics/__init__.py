"""How sure a figure is: intervals and tests that take the patient as the unit."""

from .auc import Auc, AucDifference, auc, compare_auc
from .means import FEW, Interval, mean_interval
from .paired import NonInferiority, holm, mcnemar_p, non_inferiority, paired_p
from .planning import patients_for_mean, patients_for_share
from .proportions import Proportion, proportion

__all__ = [
    "FEW", "Auc", "AucDifference", "Interval", "NonInferiority", "Proportion", "auc", "compare_auc", "holm",
    "mcnemar_p", "mean_interval", "non_inferiority", "paired_p", "patients_for_mean", "patients_for_share",
    "proportion",
]  # fmt: skip
