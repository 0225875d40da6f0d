"""What a validation stands on: the dataset and its reference, who drew it, and that no model had seen its patients."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ailab_kernel.datasets.dataset import KIND as DATASET
from ailab_kernel.datasets.dataset import DatasetVersion
from ailab_kernel.datasets.lineage import lineage, shared_with
from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.models.bundle import KIND as MODEL
from ailab_kernel.models.bundle import Bundle

_ANNOTATION, _SUBMITTED, _ACCEPTED = "annotation", "submitted", "accepted"


@dataclass(frozen=True)
class Facts:
    """A table of two columns, as a report shows it."""

    rows: Mapping[str, str]

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>"
                        for key, value in self.rows.items())  # fmt: skip
        return f"<table><tbody>{cells}</tbody></table>"


@dataclass(frozen=True)
class Leakage:
    """What the tested cases share with what each model learned from; nothing, or the validation had not begun."""

    rows: tuple[tuple[str, str, int, int, int], ...]

    @property
    def clean(self) -> bool:
        """Whether no patient and no image stands on both sides."""
        return not any(patients or pixels for _, _, _, patients, pixels in self.rows)

    def _repr_html_(self) -> str:
        if not self.rows:
            return "<p>No dataset of this lab is known that any of the models learned from.</p>"
        cells = ("model", "learned from", "its patients", "shared patients", "shared images (pixel hash)")
        head = "".join(f"<th>{cell}</th>" for cell in cells)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def reference_of(catalog: Catalog, data: DatasetVersion) -> Facts:
    """Return what a dataset is and who made its reference standard."""
    record = catalog.query(DATASET, digest=data.digest)[0]
    tested = data.split("test")
    accepted = [one for one in lineage(catalog, record).ancestors if one.kind == _ANNOTATION]
    series = {case.series_uid for case in tested}
    steps = [one.body for task in {one.name for one in accepted} for one in catalog.query(_ANNOTATION, name=task)
             if one.body.get("series") in series]  # fmt: skip
    readers = _people(steps, _SUBMITTED) or "not known here"
    reviewers = _people([one.body for one in accepted if one.body.get("series") in series], _ACCEPTED)
    phantoms = sum(case.facts.get("phantom") == "yes" for case in tested)
    return Facts({
        "dataset": f"{data.ref}, SHA-256 {data.digest}",
        "frozen": f"{record.made_at[:16].replace('T', ' ')} UTC",
        "test cases": f"{len(tested)} of {len({case.patient for case in tested})} patients"
                      + (f", {phantoms} of them phantoms: synthetic, no patient was imaged" if phantoms else ""),
        "labels": ", ".join(f"{label.name} ({label.code.meaning}, {label.code.scheme} {label.code.value})"
                            for label in data.labels),
        "reference drawn by": readers,
        "reference accepted by": reviewers or "not known here",
    })  # fmt: skip


def use_of(models: Sequence[Bundle]) -> Facts:
    """Return what each model says that it is for, in its card."""
    said = {one.ref: one.metadata.get("intended_use") or "not stated in the model's card" for one in models}
    return Facts({ref: str(text) for ref, text in said.items()})


def leakage_of(catalog: Catalog, models: Sequence[Bundle], data: DatasetVersion) -> Leakage:
    """Return what the test cases share with every dataset that a model or its ancestors learned from."""
    found = []
    for model in models:
        record = catalog.query(MODEL, digest=model.digest)[0]
        found += [(model.ref, one.learned_from, one.learned, one.patients, one.pixels)
                  for one in shared_with(catalog, record, data)]  # fmt: skip
    return Leakage(tuple(found))


def _people(steps: Sequence[Mapping[str, Any]], state: str) -> str:
    """Who brought how many cases to a state, by their pseudonyms."""
    counts = Counter(reader for reader, _ in {(str(one.get("reader", "")), str(one["series"])) for one in steps
                                              if one.get("state") == state})  # fmt: skip
    return ", ".join(f"{who} ({count} cases)" for who, count in sorted(counts.items()) if who)
