"""Many objects, of whatever source and target: treated in parallel, proven, kept, and journalled to go on."""

from .engine import Target, Unit, deidentify
from .journal import JOURNAL, REPORT, Followed, Journal, report_of
from .treatment import Given, Line, Made, Treatment

__all__ = ["JOURNAL", "REPORT", "Followed", "Given", "Journal", "Line", "Made", "Target", "Treatment", "Unit",
           "deidentify", "report_of"]  # fmt: skip
