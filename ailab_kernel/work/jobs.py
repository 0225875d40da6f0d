"""Durable jobs on DBOS: what was submitted is done once a worker runs, whatever is killed in between.

Every job ends ``done``, ``failed`` with the reason, or ``held`` because somebody took it out.
"""

import fcntl
import json
import logging
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import AilabError, JobError, NotFound
from ailab_kernel.ground.ids import canonical_json, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

QUEUE, WORKFLOW = "ailab", "ailab_job"
STATES = {
    "ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "SUCCESS": "done", "ERROR": "failed",
    "CANCELLED": "held", "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}  # fmt: skip
TRIES = 3
_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """One job as it stands.

    Attributes
    ----------
    id
        Made from its content: the same job submitted twice is one job.
    kind
        Name in the table of kinds.
    state
        ``queued``, ``running``, ``done``, ``failed`` or ``held``.
    reason
        Why it failed or is held.
    result
        What the job returned.
    """

    id: str
    kind: str
    state: str
    reason: str = ""
    result: Any = field(default=None, repr=False)


class Jobs:
    """A queue of jobs in a database.

    Parameters
    ----------
    url
        SQLAlchemy URL: ``sqlite:///...`` or ``postgresql://...``.
    kinds
        What can be done: kind to ``package.module:function``, a function of one JSON mapping.
    tries
        How often a job whose worker died is taken up again before it counts as what kills workers.
    """

    def __init__(self, url: str, *, kinds: Mapping[str, str], tries: int = TRIES) -> None:
        self._tries = tries
        self._url = url.replace("postgresql+psycopg://", "postgresql://")
        self._kinds = dict(kinds)

    def submit(self, kind: str, payload: Mapping[str, Any], *, key: str = "", priority: int = 0) -> str:
        """Queue a job and return its id.

        Parameters
        ----------
        kind
            One of the kinds.
        payload
            Plain JSON.
        key
            What makes it the same job as another; default: kind and payload.
        priority
            Lower ones are done first; 0 before all.
        """
        if kind not in self._kinds:
            msg = f"job kind {kind!r}: one of {', '.join(sorted(self._kinds))} is expected"
            raise JobError(msg)
        job = self.id_of(kind, key or payload)
        with self._client() as client:
            if not client.list_workflows(workflow_ids=[job]):
                told = json.dumps({"call": self._kinds[kind], "payload": payload})
                options = {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": job,
                           **({"priority": priority} if priority else {})}  # fmt: skip
                client.enqueue(options, kind, told)
        return job

    @staticmethod
    def id_of(kind: str, key: str | Mapping[str, Any]) -> str:
        """Return the id of the job that `submit` makes of a kind and a key (or, without one, a payload)."""
        return sha256(canonical_json({"kind": kind, "key": key}))[:16]

    def all(self) -> list[Job]:
        """Return every job, oldest first."""
        with self._client() as client:
            return [_job(status) for status in client.list_workflows(name=WORKFLOW)]

    def get(self, job: str) -> Job:
        """Return one job as it stands."""
        with self._client() as client:
            found = client.list_workflows(workflow_ids=[job])
        if not found:
            msg = f"there is no job {job} (ailab jobs list)"
            raise NotFound(msg)
        return _job(found[0])

    def cancel(self, job: str) -> None:
        """Take a job out; it ends as held."""
        self.get(job)
        with self._client() as client:
            client.cancel_workflow(job)

    def work(self, *, until_empty: bool = True, worker: str = "worker") -> None:
        """Work the queue off; jobs that a killed worker left running, whatever its name, are taken up again.

        Parameters
        ----------
        until_empty
            Return when nothing is queued or running; else go on until interrupted.
        worker
            Name of this worker; two workers at the same time need two names.

        Raises
        ------
        JobError
            A worker of this name is at work: it would be taken for dead, and its job be done twice.
        """
        from dbos import DBOS

        with _only(self._url, worker):
            _launch(self._url, worker, tries=self._tries)
            try:
                with self._client() as client:
                    while not until_empty or _open(client):
                        _adopt(self._url, client, worker)
                        time.sleep(_POLL_S)
            finally:
                DBOS.destroy()

    @contextmanager
    def _client(self) -> "Iterator[Any]":
        from dbos import DBOSClient

        _migrate(self._url)
        client = DBOSClient(system_database_url=self._url)
        try:
            yield client
        finally:
            client.destroy()


@cache
def _migrate(url: str) -> None:
    """Bring the job database to the form that this version of DBOS expects, once a process."""
    from dbos import DBOS

    DBOS.migrate(url)


@contextmanager
def _only(url: str, worker: str) -> "Iterator[None]":
    """Hold the worker's name, or say who does."""
    with _hold(url, worker) as held:
        if not held:
            msg = f"a worker named {worker!r} is at work on this queue; wait for it, or give this one another name"
            raise JobError(msg)
        yield


@contextmanager
def _hold(url: str, worker: str) -> "Iterator[bool]":
    """Try to hold a worker's name; the system or the database lets go of it when this process dies."""
    from sqlalchemy import make_url

    made = make_url(url)
    with (_file_lock if made.get_backend_name() == "sqlite" else _database_lock)(made, worker) as held:
        yield held


@contextmanager
def _file_lock(url: "URL", worker: str) -> "Iterator[bool]":
    with Path(f"{url.database}.{sha256(worker.encode())[:8]}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _database_lock(url: "URL", worker: str) -> "Iterator[bool]":
    from sqlalchemy import create_engine, text

    engine = create_engine(url.set(drivername="postgresql+psycopg"))
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            number = int(sha256(f"ailab worker {worker}".encode())[:15], 16)
            yield bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}))
    finally:
        engine.dispose()


def _adopt(url: str, client: Any, worker: str) -> None:
    """Take up what dead workers of other names left running: whoever holds no lock on its name is dead."""
    from dbos import DBOS

    running = client.list_workflows(name=WORKFLOW, status="PENDING", load_input=False, load_output=False)
    for name in {status.executor_id for status in running} - {worker, None}:
        with _hold(url, name) as held:
            if held:
                DBOS._recover_pending_workflows([name])


def _launch(url: str, worker: str, *, tries: int) -> None:
    from dbos import DBOS

    _forget_stream()
    DBOS(config={"name": "ailab", "system_database_url": url, "application_version": "1", "executor_id": worker,
                 "log_level": "CRITICAL"})  # fmt: skip
    DBOS.workflow(name=WORKFLOW, max_recovery_attempts=tries)(_do)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_S)


def _forget_stream() -> None:
    """DBOS logs to what standard error was at its first launch, and fails where that is closed by the next."""
    logger = logging.getLogger("dbos")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


def _open(client: Any) -> bool:
    """Whether anything is queued or running."""
    states = [name for name, state in STATES.items() if state in {"queued", "running"}]
    return bool(client.list_workflows(name=WORKFLOW, status=states, limit=1, load_input=False, load_output=False))


def _do(kind: str, told: str) -> dict[str, Any]:
    """Do one job."""
    job = json.loads(told)
    return outcome(job["call"], job["payload"], what=kind)


def outcome(call: str, payload: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """Call ``package.module:function``: its ``result``, or why it ``failed`` in one line, never a traceback."""
    module, _, name = call.partition(":")
    try:
        return {"result": getattr(import_module(module), name)(payload)}
    except AilabError as error:
        return {"failed": str(error)}
    except Exception as error:  # noqa: BLE001 - the job loop's boundary: a job may fail in any way, the queue goes on
        return {"failed": f"{what} ended with {type(error).__name__}"}


def _job(status: Any) -> Job:
    output = status.output if isinstance(status.output, dict) else {}
    state, kind = STATES.get(status.status, "failed"), status.input["args"][0] if status.input else ""
    if "failed" in output:
        return Job(status.workflow_id, kind, "failed", output["failed"])
    reason = {"held": "taken out of the queue", "failed": "its worker died again and again"}.get(state, "")
    return Job(status.workflow_id, kind, state, reason, output.get("result"))
