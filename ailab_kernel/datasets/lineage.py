"""What was made from what: walks along the parents that every record names."""

from dataclasses import dataclass

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import Leakage

from .dataset import KIND as DATASET
from .dataset import Case, DatasetVersion

KINDS = ("image", "task", "annotation", "dataset", "model", "inference", "report")


@dataclass(frozen=True)
class Lineage:
    """A record with all that it comes from, nearest first."""

    record: Record
    ancestors: tuple[Record, ...]


def lineage(catalog: Catalog, record: Record) -> Lineage:
    """Return ``record`` with its ancestors of every kind."""
    found: dict[str, Record] = {}
    todo = list(record.parents)
    while todo:
        digest = todo.pop(0)
        if digest not in found:
            for parent in _any_kind(catalog, digest):
                found[digest] = parent
                todo += parent.parents
    return Lineage(record, tuple(found.values()))


@dataclass(frozen=True)
class Shared:
    """What the tested cases of a dataset share with a dataset that a model learned from.

    Attributes
    ----------
    learned_from
        ``name@version``.
    patients, pixels
        How many patients, and images with the very same pixels, stand on both sides.
    learned
        How many patients the model learned from.
    """

    learned_from: str
    patients: int
    pixels: int
    learned: int


def shared_with(catalog: Catalog, model: Record, dataset: DatasetVersion, *, split: str = "test") -> tuple[Shared, ...]:
    """Return what ``dataset``'s split shares with each dataset that ``model`` or its ancestors learned from."""
    tested, found = dataset.split(split), []
    for ancestor in lineage(catalog, model).ancestors:
        if ancestor.kind != DATASET:
            continue
        learned = [Case(**case) for case in ancestor.body["cases"] if case["split"] != "test"]
        patients, pixels = ({getattr(case, key) for case in tested} & {getattr(case, key) for case in learned}
                            for key in ("patient", "pixels"))  # fmt: skip
        found.append(Shared(ancestor.ref, len(patients), len(pixels), len({case.patient for case in learned})))
    return tuple(found)


def check_unseen(catalog: Catalog, model: Record, dataset: DatasetVersion, *, split: str = "test") -> None:
    """Raise Leakage when a patient or image of ``dataset``'s split was used to train ``model`` or its ancestors."""
    for shared in shared_with(catalog, model, dataset, split=split):
        for what, count in (("patient", shared.patients), ("image", shared.pixels)):
            if count:
                msg = (f"model {model.ref} learned from {shared.learned_from}, which shares {count} {what}s with the "
                       f"{split} cases of {dataset.ref}: validate on patients it never saw")  # fmt: skip
                raise Leakage(msg)


def _any_kind(catalog: Catalog, digest: str) -> list[Record]:
    return next((found for kind in KINDS if (found := catalog.query(kind, digest=digest))), [])
