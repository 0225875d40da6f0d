"""Everything that runs while an adapter is open: the receiver, the look at what came, the courier, and workers."""

import logging
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.receive import Place, Receiver, Refusals
from ailab_kernel.adapter.rules import Plan
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.workspace import Workspace

from .caution import Caution
from .counting import Listed
from .courier import Courier
from .dispatcher import Dispatcher
from .errands import Errands
from .notary import Notary
from .overseer import Overseer
from .pressing import Gate
from .ready import check
from .worker import again, jobs_of, submit

_ROUND_S = 1.0
_AT_ONCE_S, _SLOWEST_S = 10.0, 60.0            # a worker that ends so soon waits ever longer, at most
_log = logging.getLogger(__name__)


class Adapter:
    """A running adapter; closing it ends what it started, and what was under way goes on when it is opened again.

    Parameters
    ----------
    workspace
        The lab.
    plan
        Path of ``adapter.toml``.
    workers
        How many processes work on studies; they may also be started elsewhere: ``ailab adapter work``.
    """

    def __init__(self, workspace: Workspace, plan: Path, *, workers: int = 1) -> None:
        self.plan: Plan = check(plan)
        self._workspace, self._path = workspace, plan
        self._ended = threading.Event()
        self._open = ExitStack()
        with ExitStack() as opened:
            self.inbox = opened.enter_context(inbox_of(workspace))
            notary, refusals = Notary(self.inbox, self.plan.callers), Refusals(workspace.catalog.audit)
            self.port = opened.enter_context(Receiver(
                self._place(), self.inbox, self.plan.callers, commit=notary.take, refusals=refusals)).port
            self.web_port = self._web(opened, refusals)
            threads = [threading.Thread(target=self._rounds, args=(notary,), daemon=True)]
            threads += [threading.Thread(target=self._worker, args=(number,), daemon=True) for number in range(workers)]
            for thread in threads:
                thread.start()
                opened.callback(thread.join)
            opened.callback(self._ended.set)
            self._open = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _web(self, opened: ExitStack, refusals: Refusals) -> int:
        """Open the web's door and return its port; 0 where the plan has none."""
        door = self.plan.web
        if door is None:
            return 0
        from ailab_kernel.adapter.web import Desk, HubPeople, WebServer

        once_more = partial(again, self._workspace, self.inbox.ledger, plan=self._path)
        desk = Desk(self.inbox, self.plan, door.tokens(), refusals, once_more, self._workspace.catalog.audit,
                    people=HubPeople(door.hub) if door.hub else None)  # fmt: skip
        return opened.enter_context(WebServer(door, desk)).port

    def _place(self) -> Place:
        tls = self.plan.tls
        return Place(*self.plan.listen, tls=tls.context() if tls else None)

    def _rounds(self, notary: Notary) -> None:
        """Look, deliver and vouch, over and over; an error is told and tried again, it ends nothing."""
        gate = Gate(self.inbox.ledger, self.plan, partial(submit, self._workspace, self._path))
        audit = self._workspace.catalog.audit
        caution = Caution(self.inbox, self.plan, gate.submit, audit)
        dispatcher = Dispatcher(self.inbox, self.plan, caution, Listed(self.plan.destinations), audit)
        courier = Courier(self.inbox.ledger, self.plan.destinations, audit)
        errands = Errands(self.inbox.ledger, self.plan, caution)
        overseer = Overseer(self.inbox.ledger, jobs_of(self._workspace))
        while not self._ended.wait(_ROUND_S):
            for step in (errands.round, dispatcher.look, gate.round, overseer.round, courier.round, notary.round):
                try:
                    step()
                except AilabError as error:
                    _log.warning("%s", error)
                except (SQLAlchemyError, OSError) as error:      # a full disk, a database that is away
                    _log.warning("%s could not be done now (%s)", step.__qualname__, type(error).__name__)

    def _worker(self, number: int) -> None:
        """Keep one worker process alive; one that ends at once is started ever more slowly."""
        pause = _ROUND_S
        command = [sys.executable, "-m", "ailab_kernel.adapter.running", str(self._workspace.home),
                   f"adapter-{number}", str(self._path.absolute())]
        while not self._ended.is_set():
            began = time.monotonic()
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            while process.poll() is None and not self._ended.wait(_ROUND_S):
                pass
            assert process.stdin is not None
            process.stdin.close()              # it ends when nobody holds the other end
            process.wait()
            pause = min(2 * pause, _SLOWEST_S) if time.monotonic() - began < _AT_ONCE_S else _ROUND_S
            self._ended.wait(pause)
