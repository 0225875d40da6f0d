"""How a replay compares with its original: the same value for a report and for a SEG."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.catalog import Catalog, Record

if TYPE_CHECKING:
    from ailab_kernel.reports.report import Report

KIND = "replay"
_LIKELY = "likely cause: "
_UNKNOWN = ("likely cause: the computation itself, which gives other last digits from run to run: nothing of what is "
            "recorded differs")  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """How a replay compares with its original.

    Attributes
    ----------
    what
        The report's id, or the SOP Instance UID of the SEG.
    identical
        Whether every metric is exactly the same; of a SEG, whether every voxel is.
    differences
        One line each: what differs, and by how much.
    causes
        One line each, the likeliest first; empty where nothing differs.
    labels
        Of a SEG: for each label ``label``, ``dice``, ``voxels_before``, ``voxels_now``, ``ml_before``, ``ml_now``,
        ``changed`` (voxels that are another's now).
    notes
        What else to know: the same UID or not, what differs in the surroundings without an effect.
    report
        The replay's own report; of a SEG none.
    """

    what: str
    identical: bool
    differences: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    labels: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    report: "Report | None" = field(default=None, compare=False)

    def told(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"what": self.what, "identical": self.identical, "differences": list(self.differences),
                "causes": list(self.causes), "labels": [dict(one) for one in self.labels],
                "notes": list(self.notes)}  # fmt: skip

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Replay":
        """Return what `told` was made of."""
        differences, causes, labels, notes = (tuple(told[key]) for key in ("differences", "causes", "labels", "notes"))
        return cls(str(told["what"]), bool(told["identical"]), differences, causes, labels, notes)

    def lines(self) -> tuple[str, ...]:
        """Return it as lines for a terminal."""
        return f"{self.what}: {self._verdict}", *self.differences, *self.causes, *self.notes

    @property
    def _verdict(self) -> str:
        same = "identical, voxel for voxel" if self.labels else "identical metrics"
        return same if self.identical else "differs"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in (*self.differences, *self.causes, *self.notes))
        return f"<p><b>{html.escape(self.what)}</b>: {self._verdict}</p>{_table(self.labels)}<ul>{lines}</ul>"


def causes_of(found: Sequence[str]) -> tuple[str, ...]:
    """Return what differs in inputs and surroundings as likely causes, the likeliest first."""
    return tuple(_LIKELY + line for line in found) or (_UNKNOWN,)


def keep(catalog: Catalog, done: Replay, *, of: Record | None) -> Replay:
    """Write a replay into the ledger and the trail, and return it.

    Parameters
    ----------
    of
        Record of what was run again, where there is one.
    """
    catalog.append(KIND, done.told(), name=done.what, parents=[of.digest] if of else [])
    catalog.audit("replay", what=done.what, identical=str(done.identical))
    return done


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(key.replace('_', ' '))}</th>" for key in rows[0])
    cells = ("".join(f"<td>{html.escape(_text(value))}</td>" for value in row.values()) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
