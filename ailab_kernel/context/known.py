"""One thing that is known of a patient, and whether it is what somebody looks for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

Kind = Literal["condition", "procedure", "implant", "medication"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Known:
    """A condition, procedure, implant or medication.

    Attributes
    ----------
    kind
        Which of them.
    codes
        Its codes in any system (SNOMED CT, ICD, RxNorm ...); of a patient, so never to be shown.
    texts
        What it is called.
    """

    kind: Kind
    codes: tuple[str, ...] = field(default=(), repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)

    def fits(self, pattern: str) -> bool:
        """Whether a code equals the pattern, or a text fits it; case does not matter, ``*`` and ``?`` are anything."""
        wished = pattern.casefold()
        return any(fnmatchcase(one.casefold(), wished) for one in self.codes + self.texts)


def met(known: Iterable[Known], wished: Mapping[Kind, Sequence[str]]) -> Kind | None:
    """Return the first kind of which something fits one of the patterns; None where nothing does."""
    pairs = [(one.kind, pattern) for one in known for pattern in wished.get(one.kind, ()) if one.fits(pattern)]
    return pairs[0][0] if pairs else None
