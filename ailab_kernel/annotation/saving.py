"""What was drawn leaves the session: a SEG in the archive, and the step of the task."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ailab_kernel import __version__
from ailab_kernel.datasets.intake import read_series
from ailab_kernel.ground.errors import AnnotationError, NotFound
from ailab_kernel.ground.ids import sha256
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import write_seg
from ailab_kernel.volumes.masks import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.volumes.volume import Volume
    from ailab_kernel.workspace import Workspace

    from .session import Session
    from .task import Task

TOOL = "AI-LAB annotate"
# States of a case in which a reader may hand in.
_OPEN = {"", "proposed", "submitted", "returned"}


def save(session: "Session", task: "Task") -> dict[str, Any]:
    """Store what was drawn as a SEG in the archive, and submit the case's step.

    The time is recorded before anything is written: saved again after a crash, the same object is written, once. What
    was saved and not changed since is not saved again.

    Returns
    -------
    dict
        JSON values: ``sop_uid`` (SOP Instance UID (0008,0018)), ``mask`` (SHA-256 of the voxels), ``at``.

    Raises
    ------
    AnnotationError
        The case was accepted meanwhile, or the archive refused the SEG.
    NotFound
        The series is no longer in the archive.
    """
    uid, digest = session.case.series_uid, sha256(session.array.tobytes())
    if task.state(uid) not in _OPEN:
        msg = f"series {uid} is {task.state(uid)} in task {task.ref}; have it returned before it is changed"
        raise AnnotationError(msg)
    if session.saved.get("mask") != digest:
        session.note({"kind": "saved", "mask": digest, "at": datetime.now(UTC).isoformat(timespec="seconds")})
    session.checkpoint()
    seg = seg_of(session, _source(task.workspace, session), assist=task.assist)
    stored = task.workspace.archive.store([seg])
    if stored.refused:
        msg = f"the archive refused the SEG ({stored.refused[0].reason}); nothing is lost: save again when it is mended"
        raise AnnotationError(msg)
    if not _submitted(task, session):
        task.submit(uid, session.mask, reader=session.case.reader)
    return {"sop_uid": str(seg.SOPInstanceUID), "mask": digest, "at": session.saved["at"]}


def seg_of(session: "Session", source: "Volume", *, assist: str = "") -> "Dataset":
    """Return the SEG of the newest ``saved`` record; the same session saved so gives the same bytes.

    Parameters
    ----------
    session
        Saved before.
    source
        The series with its headers.
    assist
        Digest of the model that proposed; then Segment Algorithm Type (0062,0008) is SEMIAUTOMATIC.
    """
    saved = session.saved
    provenance = Provenance(
        TOOL, __version__, made_from=(session.case.series_uid, session.case.task, saved["mask"], saved["at"]),
        when=datetime.fromisoformat(saved["at"]), kind="SEMIAUTOMATIC" if assist else "MANUAL",
        series_description=f"{TOOL}: {', '.join(label.name for label in session.case.labels)}",
        reader=session.case.reader, model_digest=assist,
    )  # fmt: skip
    return write_seg(Mask(session.array.copy(), source.grid, session.case.labels), source, provenance)


def _source(workspace: "Workspace", session: "Session") -> "Volume":
    """The series as the archive has it, for its headers; on the grid that was drawn on."""
    found = workspace.archive.search_series(series=session.case.series_uid)
    if not found:
        msg = f"series {session.case.series_uid} is no longer in the archive; restore it, then save again"
        raise NotFound(msg)
    source = read_series(workspace.archive, found[0])
    if not source.grid.matches(session.vol.grid):
        msg = f"series {session.case.series_uid} changed in the archive since it was opened; make a new task"
        raise AnnotationError(msg)
    return source


def _submitted(task: "Task", session: "Session") -> bool:
    """Whether the newest step is this very mask by this reader: a second click submits nothing anew."""
    steps = task.steps(session.case.series_uid)
    if not steps or steps[-1].state != "submitted" or steps[-1].reader != session.case.reader:
        return False
    return bool((task.mask(session.case.series_uid).array == session.array).all())
