"""One reader draws on one series: an append-only journal on the disk, and the mask that it makes."""

from .records import Case, Done
from .session import Session

__all__ = ["Case", "Done", "Session"]
