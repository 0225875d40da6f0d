"""The page in a notebook's cell: pictures out on demand, acts in, each acknowledged when it is on the disk.

Pictures travel as binary messages; no trait holds any, so none is stored with the notebook.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ailab_kernel.ground.errors import AilabError, WrongUse

from .desk import Desk

_STATIC = Path(__file__).parent / "static"
_WRONG = (AilabError, OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)
Release = Callable[[], Mapping[str, Any]]


class Review(anywidget.AnyWidget):
    """A review on the screen.

    Attributes
    ----------
    desk
        What it shows.
    report
        Of the newest run.
    scene
        Trait, JSON values: the name of the journal, who reviews, and every object in short.
    """

    _esm = _STATIC / "redact.js"
    _css = _STATIC / "redact.css"
    scene = traitlets.Dict().tag(sync=True)

    def __init__(self, desk: Desk, *, release: Release, report: Mapping[str, Any] | None = None) -> None:
        """Show a desk.

        Parameters
        ----------
        desk
            Of a run that was told to wait for a person.
        release
            Releases what is decided, and returns the run's report.
        report
            Of the run before.
        """
        self.desk, self.report = desk, dict(report or {})
        self._release, self._lock = release, threading.RLock()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="ailab-release")
        super().__init__(scene={"session": desk.log.session, "who": desk.who, "objects": desk.listed()})
        self.on_msg(self._heard)

    def release(self) -> Mapping[str, Any]:
        """Mask what is decided, prove it and release it; return the report of the run."""
        self.report = dict(self._release())
        with self._lock:
            self.desk.refresh()
            self.scene = {**self.scene, "objects": self.desk.listed()}
        return self.report

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Every trait is the kernel's: one that a page sets is refused in one line."""
        with self._told():
            msg = f"the page sets {', '.join(sorted(sync_data))[:60]}, which is the kernel's; reload the page"
            raise WrongUse(msg)

    def _heard(self, _widget: Any, message: Any, _buffers: Sequence[Any]) -> None:
        """Answer one message of the page; what cannot be done is one line on it."""
        with self._told(), self._lock:
            kind = str(message.get("kind", "")) if isinstance(message, dict) else ""
            if kind not in _ANSWERS:
                msg = f"message {kind[:20]!r} is unknown; reload the page, and run the cell again"
                raise WrongUse(msg)
            if message.get("session") != self.desk.log.session:
                msg = "this page shows another review than the kernel; reload the page"
                raise WrongUse(msg)
            _ANSWERS[kind](self, message)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever goes wrong is one line on the page; words of the machine's own go to the log only."""
        try:
            yield
        except AilabError as error:
            self._tell("failed", said=str(error))
        except _WRONG as error:
            self.log.error("review", exc_info=error)
            said = f"this failed ({type(error).__name__}); what you decided is kept: reload the page"
            self._tell("failed", said=said)

    def _tell(self, kind: str, *, buffers: Sequence[bytes] = (), **told: Any) -> None:
        self.send({"kind": kind, "session": self.desk.log.session, **told}, list(buffers))

    def _hello(self, message: Mapping[str, Any]) -> None:
        """A page begins, or comes back: how everything stands, and which of its acts are wanted."""
        self.desk.refresh()
        clients = [str(one)[:64] for one in message.get("clients", ())][:1000]
        self._tell("welcome", expected={one: self.desk.log.expected.get(one, 1) for one in clients},
                   objects=self.desk.listed())  # fmt: skip

    def _object(self, message: Mapping[str, Any]) -> None:
        self._tell("object", object=self.desk.detail(message.get("name")))

    def _frame(self, message: Mapping[str, Any]) -> None:
        name, index, faint = message.get("name"), message.get("index"), bool(message.get("faint"))
        self._tell("frame", name=name, index=index, faint=faint,
                   buffers=[self.desk.picture(name, index, faint=faint)])  # fmt: skip

    def _act(self, message: Mapping[str, Any]) -> None:
        client = str(message.get("client", ""))[:64]
        told = {**message, "kind": message.get("act")}
        try:
            said = self.desk.act(told)
        except WrongUse:                       # some before it are missing
            self._tell("welcome", expected={client: self.desk.log.expected.get(client, 1)}, objects=self.desk.listed())
            return
        name = str(message.get("name"))
        self._tell("kept", client=client, next=self.desk.log.expected[client], said=said,
                   object=self.desk.standing(name) if name in self.desk.proposals else None)  # fmt: skip

    def _ask_release(self, _message: Mapping[str, Any]) -> None:
        self._beside.submit(self._released)

    def _released(self) -> None:
        """In a thread of its own: the page goes on meanwhile."""
        with self._told():
            counts = self.release().get("review", {})
            self._tell("released", objects=self.desk.listed(), counts=counts)


_ANSWERS: dict[str, Callable[[Review, Mapping[str, Any]], None]] = {
    "hello": Review._hello, "object": Review._object, "frame": Review._frame, "act": Review._act,
    "release": Review._ask_release,
}  # fmt: skip
