"""What arrived, what is done with it, and what has gone out: durable, and never in a state that nobody sees."""

from .arrivals import ASIDE, CONFLICT, KEPT, Arrival, Ledger
from .commitments import Commitment, Commitments
from .deliveries import Delivery, Outbox
from .figures import Figures, figures
from .requests import Request, Requests
from .work import Work, Worklist

__all__ = [
    "ASIDE", "CONFLICT", "KEPT", "Arrival", "Commitment", "Commitments", "Delivery", "Figures", "Ledger", "Outbox",
    "Request", "Requests", "Work", "Worklist", "figures",
]  # fmt: skip
