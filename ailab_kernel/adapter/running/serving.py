"""Everything that runs while an adapter is open: the receiver, the look at what came, the courier, and workers."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from ailab_kernel.adapter.looking import Caution, Dispatcher, Errands, Listed
from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.receive import Place, Receiver, Refusals
from ailab_kernel.adapter.rules import Plan
from ailab_kernel.adapter.working import Gate, Overseer, again, jobs_of, submit
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.workspace import Workspace

from .courier import Courier
from .notary import Notary
from .ready import check

_ROUND_S = 1.0
_SWITCH_S = 0.0005                            # busy associations must not keep a C-ECHO waiting, 5 ms at each step
_AT_ONCE_S, _SLOWEST_S = 10.0, 60.0            # a worker that ends so soon waits ever longer, at most
Step = tuple[str, Callable[[], object]]
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
        sys.setswitchinterval(_SWITCH_S)
        self._workspace, self._path = workspace, plan
        self._ended = threading.Event()
        self._open = ExitStack()
        with ExitStack() as opened:
            self.inbox = opened.enter_context(inbox_of(workspace))
            notary, refusals = Notary(self.inbox, self.plan.callers), Refusals(workspace.catalog.audit)
            self.port = opened.enter_context(Receiver(
                self._place(), self.inbox, self.plan.callers, commit=notary.take, refusals=refusals)).port
            self.web_port = self._web(opened, refusals)
            threads = [threading.Thread(target=self._rounds, args=(steps,), daemon=True)
                       for steps in self._steps(notary, opened)]  # fmt: skip
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

    def _steps(self, notary: Notary, opened: ExitStack) -> Iterator[Sequence[Step]]:
        """What is done over and over, in its own order: whoever waits for another system waits alone."""
        ledger, audit = self.inbox.ledger, self._workspace.catalog.audit
        gate = Gate(ledger, self.plan, partial(submit, self._workspace, self._path))
        caution = Caution(self.inbox, self.plan, gate.submit, audit)
        listed = Listed(self.plan.destinations)
        for each in (caution.asking, listed.asking):
            opened.callback(each.close)
        dispatcher = Dispatcher(self.inbox, self.plan, caution, listed, audit)
        courier = Courier(ledger, self.plan.destinations, audit)
        errands, overseer = Errands(ledger, self.plan, caution), Overseer(ledger, jobs_of(self._workspace))
        yield (("requests for inference", errands.round), ("a look at what came", dispatcher.look),
               ("off-peak work", gate.round), ("a look at the queue", overseer.round), ("ending work", courier.settle))
        yield (("storage commitment", notary.round),)
        for one in self.plan.destinations:
            yield ((f"delivery to {one.name}", partial(courier.deliver, one)),)

    def _rounds(self, steps: Sequence[Step]) -> None:
        """Do steps over and over; an error is told and tried again, it ends nothing."""
        while not self._ended.wait(_ROUND_S):
            for what, step in steps:
                try:
                    step()
                except AilabError as error:
                    _log.warning("%s", error)
                except (SQLAlchemyError, OSError) as error:      # a full disk, a database that is away
                    _log.warning("%s could not be done now (%s)", what, type(error).__name__)

    def _worker(self, number: int) -> None:
        """Keep one worker process alive; one that ends at once is started ever more slowly."""
        pause = _ROUND_S
        command = [sys.executable, "-m", "ailab_kernel.adapter.working", str(self._workspace.home),
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
