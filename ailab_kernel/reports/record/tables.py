"""Tables of a validation's record: the whole at a glance, who was tested, and where data and model came from."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ailab_kernel.datasets.dataset import KIND as DATASET
from ailab_kernel.datasets.dataset import Case
from ailab_kernel.datasets.lineage import lineage
from ailab_kernel.models.bundle import KIND as MODEL
from ailab_kernel.reports.notebook import Table, table
from ailab_kernel.validation.gates.basis import Facts
from ailab_kernel.validation.subgroups import groups_of

from .studied import Studied

_ORDER = ("model", "dataset", "task", "annotation", "image")
_MEANS = {"model": "model", "dataset": "dataset", "task": "annotation task", "annotation": "accepted annotation",
          "image": "image"}  # fmt: skip
_ATTRIBUTES = {"site": "site", "scanner": "scanner", "software": "software version", "thickness": "slice thickness",
               "sex": "sex", "age": "age"}  # fmt: skip
_MOST_REFS = 4


def glance(facts: Mapping[str, str]) -> Facts:
    """Return the whole report in a few lines, for somebody who reads nothing else.

    Parameters
    ----------
    facts
        Of `facts_of`.
    """
    whom = "{patients} phantoms, no patient" if facts.get("phantom") else "{cases} cases of {patients} patients"
    rows = (
        ("What was tested", "{models} on {dataset}"),
        ("On whom", whom),
        ("Verdict", "{verdict}"),
        ("Result, mean (95 % interval)", "{result}"),
        ("Difference", "{comparison}"),
        ("Subgroups", "{subgroups}"),
        ("Failures", "{failures}"),
        ("Leakage", "{leakage}"),
    )  # fmt: skip
    filled = [(name, text.format_map(facts)) for name, text in rows]
    return Facts({name: text for name, text in filled if text})


def cases_table(studied: Studied) -> Table:
    """Return who was tested, by what the cases know, beside those that the models learned from in this lab."""
    sides = {"tested": studied.tested, **_learned(studied)}
    grouped = {name: groups_of(cases).by_facts for name, cases in sides.items()}
    rows = [["cases", "", *(str(len(cases)) for cases in sides.values())],
            ["patients", "", *(str(len({case.patient for case in cases})) for cases in sides.values())]]  # fmt: skip
    for key, title in _ATTRIBUTES.items():
        values = list(dict.fromkeys(value for found in grouped.values() for value in found[key]))
        rows += [[title if number == 0 else "", value, *(_count(found[key], value) for found in grouped.values())]
                 for number, value in enumerate(values)]  # fmt: skip
        rows += [] if values else [[title, "not known", *("" for _ in sides)]]
    return table(["of the cases", "", *sides], rows)


def lineage_table(studied: Studied) -> Table:
    """Return what the dataset and each model were made from, by kind, as the ledger has it."""
    rows = [row for what, kind, digest in _things(studied) for row in _made_from(studied, (what, kind, digest))]
    return table(["", "made from", "how many", "which"], rows)


def _things(studied: Studied) -> list[tuple[str, str, str]]:
    models = [(bundle.ref, MODEL, bundle.digest) for bundle in studied.models.values()]
    return [(studied.data.ref, DATASET, studied.data.digest), *models]


def _made_from(studied: Studied, thing: tuple[str, str, str]) -> list[list[str]]:
    what, kind, digest = thing
    ancestors = lineage(studied.catalog, studied.catalog.query(kind, digest=digest)[0]).ancestors
    counts = Counter(one.kind for one in ancestors if one.kind in _MEANS)
    if not counts:
        return [[what, "nothing that this lab knows: it came from outside", "", ""]]
    refs = {one: sorted({found.ref for found in ancestors if found.kind == one})
            for one in ("model", "dataset", "task")}  # fmt: skip
    return [[what if number == 0 else "", _MEANS[one], str(counts[one]), _listed(refs.get(one, ()))]
            for number, one in enumerate(one for one in _ORDER if counts[one])]  # fmt: skip


def _listed(refs: Sequence[str]) -> str:
    more = len(refs) - _MOST_REFS
    return ", ".join(refs[:_MOST_REFS]) + (f" and {more} more" if more > 0 else "")


def _learned(studied: Studied) -> dict[str, tuple[Case, ...]]:
    """Cases that the models learned from, by the dataset's name."""
    refs = dict.fromkeys(learned for _, learned, *_ in studied.leakage.rows)
    found: dict[str, tuple[Case, ...]] = {}
    for ref in refs:
        name, _, version = ref.partition("@")
        for record in studied.catalog.query(DATASET, name=name, version=int(version)):
            cases = tuple(Case(**case) for case in record.body["cases"])
            found[f"learned from: {ref}"] = tuple(case for case in cases if case.split != "test")
    return found


def _count(groups: Mapping[str, frozenset[str]], value: str) -> str:
    return str(len(groups.get(value, ())))
