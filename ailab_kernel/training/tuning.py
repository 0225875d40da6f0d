"""A base model and a dataset version become a new model of the lab."""

import tempfile
from functools import partial
from pathlib import Path

from ailab_kernel.datasets.dataset import Datasets, DatasetVersion
from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.models import Bundle, Models, read_bundle, write_bundle
from ailab_kernel.recipes import Recipe, bundle_metadata, find
from ailab_kernel.workspace import Workspace

from .loaders import Sample
from .loop import Trained, fine_tune
from .plot import watch


def tune(
    workspace: Workspace, data: DatasetVersion, base: Bundle, *, folder: Path, seed: int, epochs: int | None = None
) -> Trained:
    """Fine-tune ``base`` on the train cases of ``data``, the best epoch chosen by its tune cases.

    Parameters
    ----------
    workspace
        Where images and truths are kept.
    data, base
        What to learn, and from where to start.
    folder
        The run's own folder; a run that was killed goes on in it.
    seed
        Of everything random.
    epochs
        Instead of the recipe's.

    Raises
    ------
    TrainingError
        The dataset's labels are not the recipe's.
    """
    recipe = find(base.recipe)
    _check_labels(recipe, data)
    return fine_tune(
        recipe, base.weights(), train=_samples(workspace, data, "train"), tune=_samples(workspace, data, "tune"),
        folder=folder, seed=seed, epochs=epochs, on_epoch=watch(f"{recipe.title}: {base.ref} on {data.ref}"),
    )  # fmt: skip


def best_dice(trained: Trained) -> float:
    """Mean tuning Dice of the epoch that was kept."""
    return trained.curve[trained.best_epoch - 1]["dice"]


def keep(workspace: Workspace, trained: Trained, data: DatasetVersion, *, base: Bundle) -> Bundle:
    """Keep a trained network as the next version of its recipe's model and return it; equal weights, equal version."""
    recipe = find(base.recipe)
    metadata = {
        **bundle_metadata(recipe),
        "description": f"{recipe.title}, fine-tuned from {base.ref} on {data.ref}.",
        "intended_use": base.metadata.get("intended_use", ""),
        "training_data": _told(data),
        "performance": {"Dice on the tune cases (used to choose the epoch)": round(best_dice(trained), 4)},
        "limits": "Known only on the tune cases above; a validation report on unseen patients has to speak for it.",
        "made_with": {"base": base.ref, "dataset": data.ref, "best epoch": trained.best_epoch},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_bundle(Path(scratch) / recipe.name, name=recipe.name, recipe=recipe.name, network=recipe.network,
                              state_dict=trained.state_dict, metadata=metadata)  # fmt: skip
        return Models(workspace.catalog).add(read_bundle(folder), parents=(base.digest, data.digest))


def _samples(workspace: Workspace, data: DatasetVersion, split: str) -> list[Sample]:
    datasets = Datasets(workspace.catalog)
    return [Sample(case.id, partial(datasets.load, case, data.labels)) for case in data.split(split)]


def _check_labels(recipe: Recipe, data: DatasetVersion) -> None:
    if data.labels != recipe.labels:
        given, wanted = (", ".join(label.name for label in labels) for labels in (data.labels, recipe.labels))
        msg = f"dataset {data.ref} carries the labels {given}; recipe {recipe.name} learns {wanted}"
        raise TrainingError(msg)


def _told(data: DatasetVersion) -> dict[str, str]:
    counts = {split: [case for case in data.cases if case.split == split] for split in ("train", "tune")}
    return {split: f"{len(cases)} cases of {len({case.patient for case in cases})} patients in {data.ref}"
            for split, cases in counts.items()}  # fmt: skip
