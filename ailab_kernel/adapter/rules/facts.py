"""What rules know of a study: of each series the header of one instance, and how many instances have come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from itertools import groupby
from pathlib import Path

from pydicom.datadict import dictionary_has_tag
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue

from ailab_kernel.adapter.ledger import KEPT, Arrival
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.receive.walk import form_of, syntax_of, top_level
from ailab_kernel.dicom.parsing import guarded

_LONGEST = 1024                                # bytes of a value: what is longer is no matter for rules


@dataclass(frozen=True)
class SeriesFacts:
    """One series as it stands.

    Attributes
    ----------
    uid
        SeriesInstanceUID (0020,000E).
    contents
        Digest of each instance that has come.
    values
        Of one instance, by DICOM keyword, as text; identifying ones too, so never to be shown.
    """

    uid: str
    contents: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def instances(self) -> int:
        """How many have come."""
        return len(self.contents)


@dataclass(frozen=True)
class StudyFacts:
    """One study as it stands.

    Attributes
    ----------
    uid
        StudyInstanceUID (0020,000D).
    sender
        AE title that sent its newest instance.
    first_at, last_at
        When its first and its newest instance came, seconds since 1970.
    """

    uid: str
    sender: str
    first_at: float
    last_at: float
    series: tuple[SeriesFacts, ...] = ()

    @property
    def instances(self) -> int:
        """How many instances have come."""
        return sum(one.instances for one in self.series)


def facts_of(inbox: Inbox, study_uid: str) -> StudyFacts | None:
    """Return what is known of a study that was received; None where nothing of it was kept.

    Raises
    ------
    DicomError
        A kept instance can no longer be read.
    """
    came = inbox.ledger.arrivals(study_uid=study_uid, state=KEPT)
    if not came:
        return None
    by_series = groupby(sorted(came, key=lambda one: one.series_uid), key=lambda one: one.series_uid)
    series = tuple(_series(inbox, uid, list(some)) for uid, some in by_series)
    newest = max(came, key=lambda one: one.at)
    return StudyFacts(study_uid, newest.sender.partition("@")[0], min(one.at for one in came), newest.at, series)


def _series(inbox: Inbox, uid: str, came: Sequence[Arrival]) -> SeriesFacts:
    return SeriesFacts(uid, tuple(one.content for one in came), _kept_values(inbox.path(came[0].content)))


@lru_cache(maxsize=256)
def _kept_values(path: Path) -> dict[str, tuple[str, ...]]:
    """As `values_of`, of a file whose name is its digest: a series that grows is read once."""
    return values_of(path)


def values_of(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the attributes of a file's top level by keyword, as text; empty, binary and long ones are left out."""
    with guarded("header"):
        short = {one.tag: one.head + one.value for one in top_level(path, longest=_LONGEST)
                 if one.value is not None and dictionary_has_tag(one.tag)}  # fmt: skip
        form = form_of(syntax_of(path))
        ds = read_dataset(BytesIO(b"".join(short[tag] for tag in sorted(short))), form.implicit, form.order == "<")
        told = [element for element in ds if element.keyword and element.VR not in ("SQ", "OB", "OW", "UN")]
        return {element.keyword: texts for element in told if (texts := _texts(element.value))}


def _texts(value: object) -> tuple[str, ...]:
    many = value if isinstance(value, MultiValue) else (value,)
    return tuple(text for one in many if one is not None and (text := str(one).strip()))
