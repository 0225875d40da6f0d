"""What a validation is to be: model, dataset, rival and criteria, resolved and checked before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ailab_kernel.datasets.dataset import DatasetVersion
from ailab_kernel.datasets.lineage import check_unseen
from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.models import Bundle, Models
from ailab_kernel.models.acceptance import Criteria, parse
from ailab_kernel.models.bundle import KIND as MODEL

from .judging import check_askable

CHAMPION = "champion"


@dataclass(frozen=True)
class Asked:
    """Parameters of the report, and the digests of what they mean now."""

    parameters: Mapping[str, Any]
    resolved: Mapping[str, str]


def ask(
    catalog: Catalog, model: Bundle, dataset: DatasetVersion, *, baseline: str = "", alias: str = CHAMPION,
    criteria: str | Path = "", seed: int = 7,
) -> Asked:  # fmt: skip
    """Resolve what a validation report is to be made of; its parameters name every version.

    Parameters
    ----------
    catalog, model, dataset
        Where, what, and on what.
    baseline
        Model to compare with; empty: the champion where the criteria compare with it, else the one that ``model`` was
        tuned from.
    alias
        For which alias the model is to be judged.
    criteria
        TOML text or a file of it; empty: those in force for the alias. An alias moves for those in force only.
    seed
        Of the bootstrap.

    Raises
    ------
    Leakage
        A model learned from a patient or an image of the tested cases.
    WrongUse
        Criteria that cannot be read, or ask for what cannot be measured.
    """
    models = Models(catalog)
    asked = _read(criteria) if criteria else models.criteria(model.ref, alias=alias).criteria
    check_askable(asked, [label.name for label in dataset.labels])
    champion = models.aliases(model.name).get(CHAMPION, "")
    first = models.find(champion) if champion not in {"", model.digest} else None
    rival = models.get(baseline) if baseline else first if asked.asks_of(CHAMPION) and first else _parent(models, model)
    for one in (model, rival):
        if one:
            check_unseen(catalog, catalog.query(MODEL, digest=one.digest)[0], dataset)
    named: dict[str, Bundle | DatasetVersion | None] = {"model": model, "dataset": dataset, "baseline": rival}
    refs = {role: one.ref if one else "" for role, one in named.items()}
    digests = {role: one.digest if one else "" for role, one in named.items()}
    kept = catalog.put(asked.text.encode())
    told = {"champion": first.ref if first else "", "alias": alias, "criteria": kept, "seed": seed}
    return Asked({**refs, **told}, {**digests, "criteria": kept})


def _read(criteria: str | Path) -> Criteria:
    if isinstance(criteria, str):
        return parse(criteria)
    try:
        return parse(criteria.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"criteria {criteria.name} cannot be read ({type(error).__name__}); give a TOML file"
        raise SettingsError(msg) from None


def _parent(models: Models, model: Bundle) -> Bundle | None:
    """The model that a model was tuned from."""
    known = {one.digest: one for one in models.all()} if model.parents else {}
    return next((known[digest] for digest in model.parents if digest in known), None)
