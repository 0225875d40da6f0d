"""One instance taken in, whichever door it comes through: what disk or ledger do not take becomes a status."""

from ailab_kernel.ground.errors import CatalogError

from .inbox import Inbox, Incoming, Label, enough_space
from .look import Misfit
from .message import NO_RESOURCES, SUCCESS


class Taking:
    """`write` its parts, then `finish`, or `drop`.

    Parameters
    ----------
    inbox
        Where it goes.
    label
        What is known of it.
    refusal
        Status where it is not wanted: its parts are then let pass.
    """

    def __init__(self, inbox: Inbox, label: Label, *, refusal: int = SUCCESS) -> None:
        self.label = label
        self._status = refusal
        self._incoming: Incoming | None = None
        if not refusal:
            self._begin(inbox)

    def write(self, part: memoryview) -> None:
        """Write a part; once one could not be written, the rest is let pass."""
        if self._incoming:
            try:
                self._incoming.write(part)
            except OSError:
                self._fail()

    def finish(self, *, study_uid: str = "", misfit: Misfit | None = None) -> tuple[int, str]:
        """Make it durable and return its status (0000,0900), and why where it is set aside.

        Parameters
        ----------
        study_uid, misfit
            See `inbox.Incoming.finish`.
        """
        if self._incoming is None:
            return self._status, ""
        try:
            _, misfit = self._incoming.finish(study_uid=study_uid, misfit=misfit)
        except (OSError, CatalogError):
            self._fail()
            return self._status, ""
        self._incoming = None
        return (misfit.status, misfit.reason) if misfit else (SUCCESS, "")

    def drop(self) -> None:
        """Forget what came so far."""
        if self._incoming:
            self._incoming.drop()
            self._incoming = None

    def _begin(self, inbox: Inbox) -> None:
        try:
            self._incoming = inbox.begin(self.label) if enough_space(inbox.folder) else None
        except OSError:
            self._incoming = None
        self._status = SUCCESS if self._incoming else NO_RESOURCES

    def _fail(self) -> None:
        self.drop()
        self._status = NO_RESOURCES
