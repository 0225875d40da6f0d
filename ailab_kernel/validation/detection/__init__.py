"""Lesions found and missed: matched scan by scan, counted over scans with and without lesions, and as a FROC curve."""

from .bounds import sensitivity_bound
from .counts import (
    CaseCounts,
    LesionCounts,
    LesionRow,
    case_auc,
    case_counts,
    case_scores,
    lesion_counts,
    lesion_rows,
)
from .froc import RATES, Froc, froc
from .lesions import Lesions, connected_lesions, given_lesions
from .matching import MatchRule, ScanFindings, failed_scan, match_scan

__all__ = [
    "RATES", "CaseCounts", "Froc", "LesionCounts", "LesionRow", "Lesions", "MatchRule", "ScanFindings", "case_auc",
    "case_counts", "case_scores", "connected_lesions", "failed_scan", "froc", "given_lesions", "lesion_counts",
    "lesion_rows", "match_scan", "sensitivity_bound",
]  # fmt: skip
