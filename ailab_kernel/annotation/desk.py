"""A reader sits down at a case of a task: its session is opened, or gone on with, and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.volumes.masks import Mask

from .assist import labels_of, reference_mask, refiner_for
from .reading import person
from .saving import duty, save
from .session import Case, Session
from .task import Task, get_task

if TYPE_CHECKING:
    from ipywidgets import DOMWidget
    from pydicom import Dataset

    from ailab_kernel.volumes.volume import Volume

    from .widget import Annotator, Save

_LOOKED_AT = frozenset({"submitted", "reviewed", "accepted"})


@dataclass(frozen=True)
class Sitting:
    """A person at a task.

    Attributes
    ----------
    task
        The worklist, as it stood when they sat down.
    reader
        Pseudonym.
    """

    task: Task
    reader: str

    @property
    def now(self) -> Task:
        """The task as it stands now."""
        return get_task(self.task.workspace, self.task.ref)

    def states(self) -> list[str]:
        """Return the state of every case; of a double reading that of this reader's own part."""
        now = self.now
        return [now.state(uid, reader=self.reader) or "untouched" for uid in now.series_uids]

    def due(self) -> str:
        """Return the SeriesInstanceUID of the case that comes first: to be read, to be reviewed, then handed in before.

        Raises
        ------
        NotFound
            There is none.
        """
        ranked = [(rank, number) for number, uid in enumerate(self.task.series_uids)
                  if (rank := self._rank(uid)) is not None]  # fmt: skip
        if not ranked:
            msg = f"nothing of task {self.task.ref} waits for you; name a series to look at it again"
            raise NotFound(msg)
        return self.task.series_uids[min(ranked)[1]]

    def _rank(self, uid: str) -> int | None:
        steps, state = self.task.steps(uid), self.task.state(uid, reader=self.reader)
        if not self.task.may(uid, "submitted", reader=self.reader):
            another = not self.task.roster.double and state == "in progress" and steps[-1].reader != self.reader
            return 0 if state != "submitted" and not another else 2
        return None if self.task.may(uid, "reviewed", reader=self.reader) else 1

    def open(
        self, uid: str, *, seg: "Dataset | str" = "", take_over: bool = False
    ) -> "tuple[Session, str, Save, Mapping[str, Mask]]":
        """Open a case: its session, a title, what saving does, and the readings that are shown beside it by name."""
        now, reviews = self.now, duty(self.now, uid, self.reader) == "reviewed"
        roster = now.roster
        part = "reviewed" if self.reader == roster.adjudicator else "submitted"
        refusal = now.may(uid, part, reader=self.reader)
        named = not roster.named or self.reader in {*roster.readers, roster.adjudicator}
        if refusal and not reviews and not (named and now.state(uid) in _LOOKED_AT):
            raise WrongUse(refusal)
        vol = now.volume(uid)
        case = Case(now.record.digest, uid, self.reader, now.recipe.labels)
        start = _start(now, vol, seg) if seg else now.start(uid, self.reader)
        session = Session(now.workspace.home / "strokes", vol, case=case, start=start, take_over=take_over)
        if not now.may(uid, "in progress", reader=self.reader):
            now.begin(uid, reader=self.reader)
        drawn = now.submissions(uid).values() if reviews else ()
        beside = {f"reader {number}": mask for number, mask in enumerate(drawn, 1)}
        return session, _title(now, uid, reviews=reviews), lambda: save(session, self.now), beside

    def accept(self, session: Session) -> str:
        """Accept the case of a reviewer's session, and return what is to be said about it.

        What the reviewer drew is handed in first, and what an adjudicator leaves of the consensus as it is.
        """
        uid, now = session.case.series_uid, self.now
        if duty(now, uid, self.reader) == "reviewed":
            consensus = now.roster.double and now.state(uid) == "submitted"
            if consensus or (now.mask(uid).array != session.array).any():
                save(session, now)
        done = self.now.accept(uid, reviewer=self.reader)
        count = sum(done.state(one) == "accepted" for one in done.series_uids)
        return f"Case {done.series_uids.index(uid) + 1} is accepted; {count} of {len(done.series_uids)} are."

    def give_back(self, session: Session, reason: str) -> str:
        """Return the case of a reviewer's session to its readers, and return what is to be said about it.

        Raises
        ------
        WrongUse
            No reason was given.
        """
        if not reason.strip():
            msg = "nobody can mend it without a reason; write one beside the button"
            raise WrongUse(msg)
        uid = session.case.series_uid
        self.now.give_back(uid, reviewer=self.reader, reason=reason.strip())
        return f"Case {self.task.series_uids.index(uid) + 1} went back: {reason.strip()}"


def open_desk(
    task: Task, series_uid: str = "", *, reader: str, seg: "Dataset | str" = "", take_over: bool = False
) -> "Annotator":
    """Open a case for drawing; the widget that is returned shows itself in a notebook's cell.

    A session that was begun goes on as it stood, history included. A new one begins with the case's newest mask (a
    model's proposal, or what was returned), a blind reading with the proposal or empty, an adjudication with the
    consensus of the readings, whose outlines are shown.

    Parameters
    ----------
    task
        The worklist.
    series_uid
        SeriesInstanceUID (0020,000E); by default the first case that waits for this reader (`Sitting.due`).
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
    WrongUse
        The case is not this person's to read or review.
    """
    return _annotator(Sitting(task, person(task.workspace.catalog, reader)), series_uid, seg, take_over=take_over)


def show_desk(task: Task, *, reader: str, series_uid: str = "", **asked: Any) -> "tuple[DOMWidget, ...]":
    """Return what a cell shows a person at a task: the widget, and for whoever may review the buttons below it.

    Parameters
    ----------
    task, reader, series_uid, asked
        As of `open_desk`.
    """
    from .reading.bar import review_bar

    sitting = Sitting(task, person(task.workspace.catalog, reader))
    annotator = _annotator(sitting, series_uid, **asked)
    if sitting.reader in task.roster.readers:
        return (annotator,)
    return annotator, review_bar(lambda: sitting.accept(annotator.session),
                                 lambda reason: sitting.give_back(annotator.session, reason))  # fmt: skip


def _annotator(
    sitting: Sitting, series_uid: str = "", seg: "Dataset | str" = "", *, take_over: bool = False
) -> "Annotator":
    from .widget import Annotator, Worklist

    task = sitting.task
    session, title, keep, shown = sitting.open(series_uid or sitting.due(), seg=seg, take_over=take_over)
    worklist = Worklist(sitting.states, lambda number: sitting.open(task.series_uids[number]), task.series_uids)
    refiner = refiner_for(task.workspace, task.recipe)
    return Annotator(session, title=title, save=keep, worklist=worklist, refiner=refiner, references=shown)


def _title(task: Task, uid: str, *, reviews: bool) -> str:
    kind = {(False, False): "", (False, True): ", review", (True, False): ", blind reading",
            (True, True): ", adjudication: the readings' consensus"}[task.roster.double, reviews]  # fmt: skip
    pilot = task.roster.double and not task.workspace.catalog.roles_enforced
    number = task.series_uids.index(uid) + 1
    held = " (blindness is not enforced in a pilot)" if pilot and not reviews else ""
    return f"{task.recipe.title}: case {number} of {len(task.series_uids)}{kind}{held}"


def _start(task: Task, vol: "Volume", seg: "Dataset | str") -> Mask:
    if not isinstance(seg, str):
        return labels_of(task.recipe, read_seg(seg, vol))
    if seg != "archive":
        msg = f"seg={seg[:20]!r}: a SEG object or 'archive' is expected"
        raise WrongUse(msg)
    return reference_mask(task, vol)
