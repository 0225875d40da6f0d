"""What a validation found, as one value that the tables of its record are made from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ailab_kernel.datasets.dataset import Case, DatasetVersion
from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.models import Bundle
from ailab_kernel.recipes import bundle_metadata, find
from ailab_kernel.validation.gates.basis import Leakage
from ailab_kernel.validation.gates.judging import Gate
from ailab_kernel.validation.study import CaseScores, Comparison, Summary
from ailab_kernel.validation.subgroups import Subgroups

_OF_RECIPE = ("task", "spacing_mm", "window_hu", "network_data_format")


@dataclass(frozen=True)
class Studied:
    """A validation that is at its end.

    Attributes
    ----------
    catalog
        The trusted side, for lineage.
    data
        The dataset version.
    models
        By role: ``model``, and ``baseline`` where two were compared.
    rows
        The model's figures, one a case and label.
    summary
        Their means with intervals.
    comparisons
        By label, where two models were compared.
    subgroups, gate, leakage
        As the report shows them; no gate without criteria.
    alias
        That the model was judged for.
    tolerance_mm, seed
        Of the surface Dice, and of the bootstrap.
    scores
        Titles of what was worked out of scores and probabilities (``FROC``), with the figure in words.
    failures
        Case to the reason why it could not be predicted.
    """

    catalog: Catalog = field(repr=False)
    data: DatasetVersion
    models: Mapping[str, Bundle]
    rows: Sequence[CaseScores] = field(repr=False)
    summary: Summary = field(repr=False)
    subgroups: Subgroups = field(repr=False)
    leakage: Leakage = field(repr=False)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict, repr=False)
    gate: Gate | None = None
    alias: str = ""
    tolerance_mm: float = 0.0
    seed: int = 0
    scores: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> Bundle:
        """The model that the report is about."""
        return self.models["model"]

    @cached_property
    def tested(self) -> tuple[Case, ...]:
        """The test cases."""
        return self.data.split("test")

    @property
    def patients(self) -> int:
        """How many patients were tested."""
        return len({case.patient for case in self.tested})

    @property
    def phantoms(self) -> int:
        """How many test cases are phantoms."""
        return sum(case.facts.get("phantom") == "yes" for case in self.tested)

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of the model: its own metadata, and of its recipe what they leave out."""
        return known_metadata(self.model)

    @cached_property
    def images(self) -> tuple[Record, ...]:
        """Records of the tested images: how they came in."""
        return tuple(record for case in self.tested
                     for record in self.catalog.query("image", name=case.series_uid)[-1:])  # fmt: skip

    def tally(self, keyword: str) -> str:
        """Values of one fact of the test cases with counts, the most frequent first; empty where none is known."""
        return tallied([case.facts.get(keyword, "") for case in self.tested])


def known_metadata(bundle: Bundle) -> Mapping[str, Any]:
    """Return a model's metadata, completed from the recipe that it names by what every model of that recipe has."""
    try:
        recipe = bundle_metadata(find(bundle.recipe))
    except NotFound:
        return bundle.metadata
    return {**{key: recipe[key] for key in _OF_RECIPE if recipe.get(key)}, **bundle.metadata}


def tallied(values: Sequence[str]) -> str:
    """Return values with their counts, the most frequent first: ``F (12), M (8)``; empty where none is known."""
    counts = Counter(value or "not known" for value in values)
    if set(counts) <= {"not known"}:
        return ""
    return ", ".join(f"{value} ({count})" for value, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
