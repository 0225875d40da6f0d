"""Questions to other systems beside the round, a few at a time: who is slow keeps nobody waiting but who asked."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Answer = TypeVar("Answer")
_AT_ONCE = 4


@dataclass
class Asking(Generic[Answer]):
    """Questions that are under way, by a name of each.

    Attributes
    ----------
    patience_s
        For how long an answer is waited for; whoever asks then gets ``late``.
    late
        What stands for an answer that does not come.
    """

    late: Answer
    patience_s: float = 60.0
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_AT_ONCE), repr=False)
    _open: dict[str, tuple[float, Future[Answer]]] = field(default_factory=dict, repr=False)

    def __call__(self, name: str, question: Callable[[], Answer]) -> Future[Answer]:
        """Return the answer, as it stands: done or not; the question is asked where it is not under way."""
        since, answer = self._open.get(name, (0.0, None))
        if answer is None:
            since, answer = self._open[name] = time.monotonic(), self._pool.submit(question)
        if not answer.done() and time.monotonic() - since > self.patience_s:
            answer.cancel()                    # one that is being asked ends by its own time limit, and nobody listens
            answer = Future()
            answer.set_result(self.late)
        if answer.done():
            del self._open[name]
        return answer

    def close(self) -> None:
        """Ask nothing more; what is being asked ends by its own time limit."""
        self._pool.shutdown(wait=False, cancel_futures=True)
