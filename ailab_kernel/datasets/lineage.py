"""What was made from what: walks along the parents that every record names."""

from dataclasses import dataclass

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import Leakage

from .dataset import KIND as DATASET
from .dataset import DatasetVersion

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


def check_unseen(catalog: Catalog, model: Record, dataset: DatasetVersion, *, split: str = "test") -> None:
    """Raise Leakage when a patient or image of ``dataset``'s split was used to train ``model`` or its ancestors."""
    tested = dataset.split(split)
    for ancestor in lineage(catalog, model).ancestors:
        if ancestor.kind != DATASET:
            continue
        learned = [case for case in ancestor.body["cases"] if case["split"] != "test"]
        for what, key in (("patient", "patient"), ("image", "image")):
            shared = {getattr(case, key) for case in tested} & {case[key] for case in learned}
            if shared:
                msg = (f"model {model.ref} learned from {ancestor.ref}, which shares {len(shared)} {what}s with the "
                       f"{split} cases of {dataset.ref}: validate on patients it never saw")  # fmt: skip
                raise Leakage(msg)


def _any_kind(catalog: Catalog, digest: str) -> list[Record]:
    return next((found for kind in KINDS if (found := catalog.query(kind, digest=digest))), [])
