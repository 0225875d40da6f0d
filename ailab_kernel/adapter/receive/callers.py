"""Who may connect: AE titles with the addresses that they call from, and what each may do."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from .pdu import APPLICATION, Request

# A-ASSOCIATE-RJ: result, source, reason (PS3.8 table 9-21).
_PROTOCOL, _APPLICATION, _CALLING, _CALLED = (1, 2, 2), (1, 1, 2), (1, 1, 3), (1, 1, 7)
STRANGER, WRONG_TITLE = "nobody who is known calls so from there", "another AE title was called"
# What of it is a matter for the audit trail.
ALERTS = {_CALLING: STRANGER, _CALLED: WRONG_TITLE}


@dataclass(frozen=True)
class Caller:
    """One peer that may connect.

    Attributes
    ----------
    ae
        Its AE title; ``*``: any.
    address
        Address or network (CIDR) that it calls from; empty: any.
    store
        Whether it may send instances, or only be answered (C-ECHO).
    reply
        ``HOST:PORT`` where it takes answers to storage commitment requests; empty: it may not make any.
    """

    ae: str
    address: str = ""
    store: bool = True
    reply: str = ""

    def fits(self, ae: str, address: str) -> bool:
        """Whether this is who calls."""
        near = not self.address or ip_address(address) in ip_network(self.address, strict=False)
        return near and self.ae in ("*", ae)


@dataclass(frozen=True)
class Callers:
    """The allow-list.

    Attributes
    ----------
    called
        Our AE title; a peer that calls another is refused.
    known
        Who may connect; empty: nobody.
    """

    called: str
    known: Sequence[Caller]

    def refusal(self, request: Request, address: str) -> tuple[int, int, int] | None:
        """Return result, source and reason of the rejection; None where the association may be."""
        checks = (
            (request.version & 1 == 1, _PROTOCOL), (request.application == APPLICATION, _APPLICATION),
            (request.called == self.called, _CALLED), (self._found(request.calling, address) is not None, _CALLING),
        )  # fmt: skip
        return next((why for fine, why in checks if not fine), None)

    def may_connect(self, address: str) -> bool:
        """Whether anybody may call from there, before a word was said."""
        return any(one.fits(one.ae, address) for one in self.known)

    def may_store(self, calling: str, address: str) -> bool:
        """Whether this peer may send instances."""
        found = self._found(calling, address)
        return found is not None and found.store

    def _found(self, calling: str, address: str) -> Caller | None:
        return next((one for one in self.known if one.fits(calling, address)), None)
