"""One condition on one DICOM attribute, as people write it: ``"CT"``, ``"*chest*"``, ``"<= 3"``, ``"1.0..2.5"``.

Text ignores case and knows ``*`` and ``?`` (PS3.4 C.2.2.2.4); a list means any of its values; ``!`` in front means that
none of an attribute's values may fit; ``true`` and ``false`` ask whether it is there at all.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate

from pydicom.datadict import tag_for_keyword

from ailab_kernel.ground.errors import SettingsError

Wished = str | bool | float | Sequence[str]
_COMPARED = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_NUMBER = r"-?\d+(?:\.\d+)?"
_COMPARISON = re.compile(rf"\s*(<=|>=|<|>)\s*({_NUMBER})\s*")
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")


@dataclass(frozen=True)
class Condition:
    """What an attribute must be.

    Attributes
    ----------
    keyword
        DICOM keyword.
    words
        The condition as it was written.
    accepts
        Judges the attribute's values, as text; none where it is absent or empty.
    """

    keyword: str
    words: str
    accepts: Callable[[Sequence[str]], bool]

    def __str__(self) -> str:
        return f"{self.keyword} {self.words}"


def condition(keyword: str, wished: Wished) -> Condition:
    """Return the condition that was written for an attribute.

    Raises
    ------
    SettingsError
        No such keyword, or nothing that can be judged.
    """
    if tag_for_keyword(keyword) is None:
        msg = f"{keyword!r} is no DICOM keyword; write for example Modality, StudyDescription or SliceThickness"
        raise SettingsError(msg)
    if isinstance(wished, bool):
        return Condition(keyword, "is there" if wished else "is not there", lambda values: bool(values) == wished)
    parts = [wished] if isinstance(wished, str | int | float) else list(wished)
    texts = [str(one) for one in parts]
    if not texts or not all(text.strip() for text in texts):
        msg = f"{keyword} = {wished!r} says nothing; write a text, a list, a comparison, or true or false"
        raise SettingsError(msg)
    no = [_test(text[1:]) for text in texts if text.startswith("!")]
    yes = [_test(text) for text in texts if not text.startswith("!")]
    return Condition(keyword, "is " + " or ".join(texts), lambda values: _fits(values, yes, no))


def _fits(values: Sequence[str], yes: list[Callable[[str], bool]], no: list[Callable[[str], bool]]) -> bool:
    if any(test(value) for value in values for test in no):
        return False
    return not yes or any(test(value) for value in values for test in yes)


def _test(text: str) -> Callable[[str], bool]:
    compared, span = _COMPARISON.fullmatch(text), _RANGE.fullmatch(text)
    if compared:
        judge, bound = _COMPARED[compared[1]], float(compared[2])
        return lambda value: (number := _number(value)) is not None and judge(number, bound)
    if span:
        low, high = float(span[1]), float(span[2])
        return lambda value: (number := _number(value)) is not None and low <= number <= high
    pattern = re.compile(translate(text.strip().replace("[", "[[]")), re.IGNORECASE)
    return lambda value: pattern.match(value.strip()) is not None


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
