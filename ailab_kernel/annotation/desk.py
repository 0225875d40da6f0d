"""A reader sits down at a case of a task: its session is opened, or gone on with, and shown."""

from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.volumes.masks import Mask

from .assist import labels_of, reference_mask
from .saving import save
from .session import Case, Session
from .task import Task, get_task

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.volumes.volume import Volume

    from .widget import Annotator, Save

# Which case comes first: what nobody handed in yet, then what waits for a reviewer.
_ORDER = (("", "proposed", "returned"), ("submitted",))
_DIGITS = 12


def open_desk(
    task: Task, series_uid: str = "", *, reader: str, seg: "Dataset | str" = "", take_over: bool = False
) -> "Annotator":
    """Open a case for drawing; the widget that is returned shows itself in a notebook's cell.

    A session that was begun goes on as it stood, history included. A new one begins with the case's newest mask (a
    model's proposal, or what was returned), else empty.

    Parameters
    ----------
    task
        The worklist.
    series_uid
        SeriesInstanceUID (0020,000E); by default the first case that nobody handed in, then the first not accepted.
    reader
        Who draws; only a pseudonym made of it is written anywhere.
    seg
        A SEG of any tool that a new session begins with, or ``archive``: the one that the archive holds.
    take_over
        Also where the session is open in another process, which can write no more then.

    Raises
    ------
    SessionTaken
        It is open elsewhere.
    NotFound
        Nothing is left to draw, or the archive holds no SEG of the series.
    ObjectError
        The SEG is another scan's.
    """
    from .widget import Annotator, Worklist

    due = (one for states in _ORDER for one in task.series_uids if task.state(one) in states)
    uid = series_uid or next(due, "")
    if not uid:
        msg = f"every case of task {task.ref} is accepted; name a series to look at it again"
        raise NotFound(msg)

    def _turn(number: int) -> "tuple[Session, str, Save]":
        now = get_task(task.workspace, task.ref)
        return _opened(now, now.series_uids[number], reader=reader)

    def _states() -> list[str]:
        now = get_task(task.workspace, task.ref)
        return [now.state(one) or "untouched" for one in now.series_uids]

    session, title, keep = _opened(task, uid, reader=reader, seg=seg, take_over=take_over)
    return Annotator(session, title=title, save=keep, worklist=Worklist(_states, _turn, task.series_uids))


def _opened(
    task: Task, uid: str, *, reader: str, seg: "Dataset | str" = "", take_over: bool = False
) -> "tuple[Session, str, Save]":
    vol = task.volume(uid)
    case = Case(task.record.digest, uid, pseudonym_of(task, reader), task.recipe.labels)
    folder, start = task.workspace.home / "strokes", _start(task, vol, seg)
    session = Session(folder, vol, case=case, start=start, take_over=take_over)
    title = f"{task.recipe.title}: case {task.series_uids.index(uid) + 1} of {len(task.series_uids)}"
    return session, title, lambda: save(session, get_task(task.workspace, task.ref))


def pseudonym_of(task: Task, reader: str) -> str:
    """Return the reader's pseudonym in this lab, ``reader-`` and twelve digits; the same one each time.

    Raises
    ------
    WrongUse
        No name was given.
    """
    if not reader.strip():
        msg = "reader is empty; give your login, a pseudonym is made of it"
        raise WrongUse(msg)
    return f"reader-{task.workspace.catalog.pseudonym('reader', reader)[:_DIGITS]}".lower()


def _start(task: Task, vol: "Volume", seg: "Dataset | str") -> Mask | None:
    if isinstance(seg, str) and seg not in {"", "archive"}:
        msg = f"seg={seg[:20]!r}: a SEG object or 'archive' is expected"
        raise WrongUse(msg)
    if not isinstance(seg, str):
        return labels_of(task.recipe, read_seg(seg, vol))
    if seg:
        return reference_mask(task, vol)
    return task.mask(vol.series_uid) if task.steps(vol.series_uid) else None
