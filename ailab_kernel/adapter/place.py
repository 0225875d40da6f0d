"""Where an adapter keeps what it receives: below the lab's home, in the lab's own database where that is PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.workspace import Workspace

from .ledger import Ledger
from .receive import Inbox


def folder_of(workspace: Workspace) -> Path:
    """Return the adapter's folder: ``adapter`` below the lab's home."""
    return workspace.home / "adapter"


@contextmanager
def ledger_of(workspace: Workspace) -> Iterator[Ledger]:
    """Open the ledger for the block.

    Raises
    ------
    WrongUse
        The lab is behind a service: its adapter runs there.
    """
    if workspace.settings.service:
        msg = "this lab is behind the hub's service: the adapter runs where the service does, as the same system user"
        raise WrongUse(msg)
    folder = folder_of(workspace)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = workspace.settings.catalog
    ledger = Ledger(url if url and not url.startswith("sqlite") else f"sqlite:///{folder / 'ledger.sqlite'}")
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def inbox_of(workspace: Workspace) -> Iterator[Inbox]:
    """Open the inbox for the block; several processes may have it open."""
    with ledger_of(workspace) as ledger, Inbox(folder_of(workspace) / "inbox", ledger) as inbox:
        yield inbox
