"""The series that are worked on, in a folder archive of their own: links to what was received, or retrieved for it."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from ailab_kernel.adapter.ledger import KEPT, Work
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.receive.meta import INSTANCE, read_meta
from ailab_kernel.adapter.rules import Plan, Rule, SeriesFacts, StudyFacts, facts_of, judge
from ailab_kernel.adapter.rules.facts import values_of
from ailab_kernel.archives.archive import Archive, Series, open_archive
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError, NotFound

_META_BYTES = 1 << 16


def gathered(inbox: Inbox, plan: Plan, work: Work, *, rule: Rule, folder: Path) -> list[str]:
    """Put the series of a piece of work below a folder and return their SeriesInstanceUIDs; a repeat finds them there.

    Raises
    ------
    NotFound
        The study or a series is not there, or the rule is for none of its series.
    ArchiveError, DicomError
        It cannot be retrieved, or not be read.
    """
    source = work.told.get("source", "")
    if not source:
        return _linked(inbox, work, rule, folder)
    url = next((one.url for one in plan.destinations if one.name == source), None)
    if url is None:
        msg = f"{source} is no longer in the plan; put it back, or ask for this work anew"
        raise NotFound(msg)
    return _retrieved(open_archive(url), work, rule, folder)


def _linked(inbox: Inbox, work: Work, rule: Rule, folder: Path) -> list[str]:
    # What came since is other work: whatever is queued for long must not be done on more than it says.
    until = work.told.get("until", float("inf"))
    came = [one for one in inbox.ledger.arrivals(study_uid=work.study_uid, state=KEPT) if one.at <= until]
    there = {one.series_uid for one in came}
    facts = None if work.told["series"] else facts_of(inbox, work.study_uid)
    wanted = work.told["series"] or (_chosen(rule, facts) if facts else [])
    _check_there(wanted, there, where="what was received")
    for one in came:
        place = folder / one.study_uid / one.series_uid / f"{one.uid}.dcm"
        if one.series_uid in wanted and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(inbox.path(one.content), place)
    return list(wanted)


def _retrieved(archive: Archive, work: Work, rule: Rule, folder: Path) -> list[str]:
    listed = {one.uid: one for one in archive.search_series(work.study_uid)}
    asked = work.told["series"] or list(listed)
    _check_there(asked, set(listed), where="the archive")
    for uid in asked:
        _fetch(archive, listed[uid], folder / work.study_uid / uid)
    if work.told["series"]:
        return list(asked)
    wanted = _chosen(rule, _facts(folder / work.study_uid, asked))
    _check_there(wanted, set(asked), where="the archive")
    for uid in set(asked) - set(wanted):       # what is in the folder and not worked on would pass for a result
        shutil.rmtree(folder / work.study_uid / uid)
    return wanted


def _check_there(wanted: list[str], there: set[str], *, where: str) -> None:
    missing = [uid for uid in wanted if uid not in there]
    if missing:
        msg = f"series {missing[0]} is not in {where}"
        raise NotFound(msg)
    if not wanted:
        msg = f"{where} has no series of this study that the rule is for (ailab adapter explain STUDY)"
        raise NotFound(msg)


def _fetch(archive: Archive, series: Series, target: Path) -> None:
    """Retrieve a series; its folder has its name only once all of it is there."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parents[2]) as unfinished:   # where nobody looks for results
        part = Path(unfinished) / "series"
        part.mkdir()
        for one in archive.retrieve_files(series):
            data = one if isinstance(one, bytes) else one.read_bytes()
            (part / f"{_uid(data)}.dcm").write_bytes(data)
        part.rename(target)


def _uid(data: bytes) -> str:
    found = read_meta(data[:_META_BYTES])
    if found is None:
        msg = "the archive gave something that is no PS3.10 file; see its log"
        raise DicomError(msg)
    return check_uid(found[0].get(INSTANCE, ""))


def _facts(study: Path, series: list[str]) -> StudyFacts:
    found = {uid: sorted((study / uid).glob("*.dcm")) for uid in series}
    facts = tuple(SeriesFacts(uid, tuple(one.stem for one in some), values_of(some[0]))
                  for uid, some in found.items() if some)  # fmt: skip
    return StudyFacts(study.name, "", time.time(), time.time(), facts)


def _chosen(rule: Rule, facts: StudyFacts) -> list[str]:
    return list(judge(rule, facts, now=time.time()).series)
