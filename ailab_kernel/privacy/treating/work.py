"""Every attribute of an object, at every depth, treated as the profile says.

Attributes that stay are not decoded: they travel as the bytes they were, pixels included.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import keyword_for_tag

from ailab_kernel.privacy.elements.raw import Element, bytes_of, elements_of, put_texts, remove, texts_of, vr_of
from ailab_kernel.privacy.rules.private import is_safe
from ailab_kernel.privacy.rules.profile import Action, Profile
from ailab_kernel.privacy.rules.standins import StandIns, moved
from ailab_kernel.privacy.rules.text import MARK, Cleaner
from ailab_kernel.privacy.rules.values import DUMMIES, REMOVED, TEXTS, known_age

from .actions import actions_of

_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_EMPTIED, _LOOKED_AT = TEXTS | {"DA", "DT", "TM"}, TEXTS | {"AS", "SQ"}
# Terms by which programs read an object: a Study ID of "100" is not to be cut out of ISO_IR 100.
_TERMS = frozenset({0x00080005, 0x00080060, 0x00280004, 0x0040A010, 0x0040A040, 0x0040A050, 0x00700023, 0x00620001})


@dataclass
class Work:
    """One object being treated."""

    profile: Profile
    stand_ins: StandIns
    cleaner: Cleaner
    patient: str
    counts: Counter[str] = field(default_factory=Counter)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def treat(self, ds: Dataset, *, dummied: bool = False) -> None:
        """Treat every attribute of a data set; with ``dummied`` no text of it stays."""
        self._private(ds)
        planned = self._planned(ds, dummied=dummied)
        self.counts.update(action for _, _, action in planned)
        quiet = self._quiet(planned)
        for held, vr, action in planned:
            if action is Action.KEEP and (vr not in _LOOKED_AT or (quiet and _is_text(held, vr))):
                continue
            element = held if vr == held.VR else ds.get_item(held.tag)     # looking may have decoded it
            _DOES[action](self, ds, element, vr)
            if vr == "SQ" and held.tag in ds:
                for item in ds[held.tag].value or ():
                    self.treat(item, dummied=dummied or action is Action.DUMMY)

    def _planned(self, ds: Dataset, *, dummied: bool) -> list[tuple[Element, str, Action]]:
        """Every element with its VR and what is to be done; group lengths go, they say nothing."""
        planned, actions = [], actions_of(self.profile)
        for held in elements_of(ds):
            if not held.tag & 0xFFFF:
                remove(ds, held)
                continue
            vr = vr_of(ds, held)
            action = actions[int(held.tag), vr]
            if dummied and action in {Action.KEEP, Action.CLEAN} and vr in TEXTS - {"CS"}:
                action = Action.DUMMY
            planned.append((held, vr, action))
        return planned

    def _quiet(self, planned: Iterable[tuple[Element, str, Action]]) -> bool:
        """Whether no text that stays, of those that nobody decoded, holds an identifier; one look for all of them."""
        texts = [held.value or b"" for held, vr, action in planned if action is Action.KEEP and _is_text(held, vr)]
        return not self.cleaner.meets(b"\n".join(texts))

    def _private(self, ds: Dataset) -> None:
        mine = [element for element in elements_of(ds) if element.tag >> 16 & 1]
        if not mine:
            return
        kept = self._safe(ds, mine) if "safe-private" in self.profile.options else frozenset()
        for element in mine:
            if int(element.tag) not in kept:
                remove(ds, element)
                self.counts[Action.REMOVE] += 1

    def _safe(self, ds: Dataset, mine: Iterable[Element]) -> frozenset[int]:
        """Private attributes that are known to be safe, and the creators of their blocks."""
        creators = {int(one.tag): str(ds[one.tag].value) for one in mine if 0x10 <= one.tag & 0xFFFF <= 0xFF}
        safe = {tag: _creator(tag) for tag in (int(one.tag) for one in mine) if tag not in creators and is_safe(
            tag >> 16, creators.get(_creator(tag), ""), tag & 0xFFFF)}  # fmt: skip
        return frozenset((*safe, *safe.values()))

    def keep(self, ds: Dataset, element: Element, vr: str) -> None:
        """Leave the value; texts lose the study's own identifiers, ages are capped."""
        if vr == "AS":
            self._each(ds, element, vr, known_age)
        elif vr in TEXTS and int(element.tag) not in _TERMS and self.cleaner.meets(bytes_of(ds, element)):
            self._each(ds, element, vr, self.cleaner.known if vr not in {"CS", "UR"} else self._coded)

    def remove(self, ds: Dataset, element: Element, _vr: str) -> None:
        """Take the attribute out."""
        remove(ds, element)

    def empty(self, ds: Dataset, element: Element, vr: str) -> None:
        """Leave the attribute without a value."""
        if vr in _EMPTIED:
            put_texts(ds, element, (), vr=vr)
        else:
            ds[element.tag] = DataElement(element.tag, vr, Sequence() if vr == "SQ" else None)

    def dummy(self, ds: Dataset, element: Element, vr: str) -> None:
        """Put something in its place; a sequence keeps its items, whose texts go."""
        if vr == "SQ" or not bytes_of(ds, element):
            return
        value = DUMMIES.get(vr, REMOVED)
        if vr == "UI":
            self.uid(ds, element, vr)
        elif isinstance(value, str):
            known = int(element.tag) in {_PATIENT_ID, _PATIENT_NAME}
            put_texts(ds, element, [self._pseudonym(ds, element, vr) if known else value], vr=vr)
        else:
            ds[element.tag] = DataElement(element.tag, vr, value)

    def uid(self, ds: Dataset, element: Element, vr: str) -> None:
        """Put the UID's stand-in in its place."""
        if vr == "UI":
            self._each(ds, element, vr, self.stand_ins.uid)
        elif bytes_of(ds, element):
            ds[element.tag] = DataElement(element.tag, vr, DUMMIES.get(vr))

    def clean(self, ds: Dataset, element: Element, vr: str) -> None:
        """Move dates, clean texts; what is neither goes, but for a sequence, whose items are treated."""
        if vr in {"DA", "DT"}:
            self._move(ds, element, vr)
        elif vr == "CS":
            self.keep(ds, element, vr)
        elif vr in TEXTS and bytes_of(ds, element):
            self._each(ds, element, vr, self.cleaner.clean)
            now = ds.get_item(element.tag)
            self.texts.append((keyword_for_tag(element.tag), "\\".join(texts_of(ds, now, vr))))
        elif vr not in {"SQ", "TM"} and vr not in TEXTS:
            remove(ds, element)

    def _pseudonym(self, ds: Dataset, element: Element, vr: str) -> str:
        known = "\\".join(texts_of(ds, element, vr)) if int(element.tag) == _PATIENT_ID else self.patient
        return self.stand_ins.patient(known or self.patient)

    def _coded(self, text: str) -> str:
        """Coded strings allow no brackets."""
        return self.cleaner.known(text).replace(MARK, REMOVED)

    def _move(self, ds: Dataset, element: Element, vr: str) -> None:
        days = self.stand_ins.days(self.patient)
        self._each(ds, element, vr, lambda text: moved(text, days) or "")

    def _each(self, ds: Dataset, element: Element, vr: str, change: Callable[[str], str]) -> None:
        before = texts_of(ds, element, vr)
        after = [change(one) for one in before]
        if after != before:
            put_texts(ds, ds.get_item(element.tag), after, vr=vr)


_DOES: Mapping[Action, Callable[[Work, Dataset, Element, str], None]] = {
    Action.KEEP: Work.keep, Action.REMOVE: Work.remove, Action.EMPTY: Work.empty, Action.DUMMY: Work.dummy,
    Action.UID: Work.uid, Action.CLEAN: Work.clean,
}  # fmt: skip


def _is_text(element: Element, vr: str) -> bool:
    return vr in TEXTS and isinstance(element.value, bytes)


def _creator(tag: int) -> int:
    return tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8
