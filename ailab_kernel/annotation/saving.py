"""What was drawn leaves the session: a SEG in the archive, and the step of the task."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ailab_kernel import __version__
from ailab_kernel.datasets.dataset import load_mask
from ailab_kernel.datasets.intake import read_series
from ailab_kernel.ground.errors import AnnotationError, NotFound
from ailab_kernel.ground.ids import sha256
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import write_seg
from ailab_kernel.volumes.masks import Mask

from .reading import active_seconds

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.volumes.volume import Volume
    from ailab_kernel.workspace import Workspace

    from .session import Session
    from .task import Task

TOOL = "AI-LAB annotate"


def save(session: "Session", task: "Task") -> dict[str, Any]:
    """Store what was drawn as a SEG in the archive, and write the case's step: a reader's or a reviewer's.

    The time is recorded before anything is written: saved again after a crash, the same object is written, once. What
    was saved and not changed since is not saved again. A blind reading is handed in and nothing else: the archive is
    open to the other reader, and gets the adjudicated mask.

    Returns
    -------
    dict
        JSON values: ``sop_uid`` (SOP Instance UID (0008,0018); empty for a blind reading), ``mask`` (SHA-256 of the
        voxels), ``at``.

    Raises
    ------
    AnnotationError
        The case cannot be handed in by this reader as it stands now, or the archive refused the SEG.
    NotFound
        The series is no longer in the archive.
    """
    uid, reader, digest = session.case.series_uid, session.case.reader, sha256(session.array.tobytes())
    state = duty(task, uid, reader)
    again = _handed_in(task, session, state)
    if not again and (refusal := task.may(uid, state, reader=reader)):
        raise AnnotationError(refusal)
    if session.saved.get("mask") != digest:
        session.note({"kind": "saved", "mask": digest, "at": datetime.now(UTC).isoformat(timespec="seconds")})
    session.checkpoint()
    blind = task.roster.double and state == "submitted"
    sop_uid = "" if blind else _stored(session, task)
    seconds = active_seconds(session.records)
    if not again and state == "submitted":
        task.submit(uid, session.mask, reader=reader, seconds=seconds)
    elif not again:
        task.review(uid, session.mask, reviewer=reader, seconds=seconds)
    return {"sop_uid": sop_uid, "mask": digest, "at": session.saved["at"]}


def duty(task: "Task", series_uid: str, reader: str) -> str:
    """Return what a person hands in on a case: ``reviewed`` where somebody else's reading waits for them.

    Parameters
    ----------
    task, series_uid
        The case.
    reader
        Pseudonym.
    """
    waits = task.state(series_uid) in {"submitted", "reviewed"}
    return "reviewed" if waits and not task.may(series_uid, "reviewed", reader=reader) else "submitted"


def _stored(session: "Session", task: "Task") -> str:
    """Write the SEG and return its SOP Instance UID."""
    seg = seg_of(session, _source(task.workspace, session), assist=task.assist)
    stored = task.workspace.archive.store([seg])
    if stored.refused:
        msg = f"the archive refused the SEG ({stored.refused[0].reason}); nothing is lost: save again when it is mended"
        raise AnnotationError(msg)
    return str(seg.SOPInstanceUID)


def seg_of(session: "Session", source: "Volume", *, assist: str = "") -> "Dataset":
    """Return the SEG of the newest ``saved`` record; the same session saved so gives the same bytes.

    Parameters
    ----------
    session
        Saved before.
    source
        The series with its headers.
    assist
        Digest of the model that proposed; then, or where clicks were answered, Segment Algorithm Type (0062,0008) is
        SEMIAUTOMATIC.
    """
    saved = session.saved
    provenance = Provenance(
        TOOL, __version__, made_from=(session.case.series_uid, session.case.task, saved["mask"], saved["at"]),
        when=datetime.fromisoformat(saved["at"]), kind="SEMIAUTOMATIC" if assist or session.helped_by else "MANUAL",
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


def _handed_in(task: "Task", session: "Session", state: str) -> bool:
    """Whether this reader's newest step is this very mask: a second click hands in nothing anew."""
    own = [step for step in task.steps(session.case.series_uid) if step.reader == session.case.reader]
    if not own or own[-1].state != state:
        return False
    mask = load_mask(task.workspace.catalog, own[-1].mask, session.case.labels)
    return bool((mask.array == session.array).all())
