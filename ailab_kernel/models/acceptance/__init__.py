"""What a model must show before an alias may mean it: criteria fixed beforehand, approvals, and the check itself."""

from .criteria import Criteria, Criterion, parse
from .standing import (
    APPROVAL,
    KIND,
    REVOKED,
    Standing,
    approve,
    approvers,
    check_met,
    declare,
    earlier,
    in_force,
    revoked,
)

__all__ = [
    "APPROVAL", "KIND", "REVOKED", "Criteria", "Criterion", "Standing", "approve", "approvers", "check_met", "declare",
    "earlier", "in_force", "parse", "revoked",
]  # fmt: skip
