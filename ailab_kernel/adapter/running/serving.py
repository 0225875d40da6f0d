"""Everything that runs while an adapter is open: the receiver, the look at what came, the courier, and workers."""

import logging
import subprocess
import sys
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.receive import Place, Receiver
from ailab_kernel.adapter.rules import Plan, read_plan
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.workspace import Workspace

from .courier import Courier
from .dispatcher import Dispatcher
from .notary import Notary
from .worker import submit

_ROUND_S = 1.0
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
        self.plan: Plan = read_plan(plan)
        self._workspace, self._path = workspace, plan
        self._ended = threading.Event()
        self._open = ExitStack()
        with ExitStack() as opened:
            self.inbox = opened.enter_context(inbox_of(workspace))
            host, port = self.plan.listen
            notary = Notary(self.inbox, self.plan.callers)
            receiver = opened.enter_context(
                Receiver(Place(host, port), self.inbox, self.plan.callers, commit=notary.take))
            self.port = receiver.port
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

    def _rounds(self, notary: Notary) -> None:
        """Look, deliver and vouch, over and over; an error is told and tried again, it ends nothing."""
        dispatcher = Dispatcher(self.inbox, self.plan, partial(submit, self._workspace, self._path))
        courier = Courier(self.inbox.ledger, self.plan.destinations)
        while not self._ended.wait(_ROUND_S):
            for step in (dispatcher.look, courier.round, notary.round):
                try:
                    step()
                except AilabError as error:
                    _log.warning("%s", error)

    def _worker(self, number: int) -> None:
        """Keep one worker process alive."""
        command = [sys.executable, "-m", "ailab_kernel.adapter.running", str(self._workspace.home), f"adapter-{number}"]
        while not self._ended.is_set():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            while process.poll() is None and not self._ended.wait(_ROUND_S):
                pass
            assert process.stdin is not None
            process.stdin.close()              # it ends when nobody holds the other end
            process.wait()
