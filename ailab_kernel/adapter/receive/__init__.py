"""Studies as the PACS sends them: a storage SCP that promises nothing before it is on the disk."""

from .association import Limits
from .callers import Caller, Callers
from .inbox import Inbox
from .refusals import Refusals
from .server import Place, Receiver

__all__ = ["Caller", "Callers", "Inbox", "Limits", "Place", "Receiver", "Refusals"]
