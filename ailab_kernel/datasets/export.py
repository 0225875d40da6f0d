"""A dataset version as files for others: images and truths as NIfTI, and a table; no UID of the archive comes along."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import values
from ailab_kernel.volumes.nifti import mask_to_nifti, volume_to_nifti

from .dataset import Datasets, DatasetVersion

if TYPE_CHECKING:
    from ailab_kernel.ground.catalog import Catalog


def export_dataset(catalog: "Catalog", dataset: DatasetVersion, folder: Path, *, release: str = "") -> Path:
    """Write ``dataset.json``, and for each case ``ID.nii.gz`` and ``ID-truth.nii.gz``; return the folder.

    Parameters
    ----------
    catalog
        The trusted side.
    dataset
        A version; each of its files is checked against its digest.
    folder
        Where to; created, must be empty.
    release
        Why it may leave although the table holds what identifies; by role, and written down.

    Raises
    ------
    DatasetError
        The folder is not empty.
    ExitBlocked
        The table holds what identifies a patient, and no reason was given.
    """
    if folder.exists() and any(folder.iterdir()):
        msg = f"dataset {dataset.ref} is not exported: the folder is not empty; give a new one"
        raise DatasetError(msg)
    told = _table(dataset)
    check(catalog, values(told, "dataset.json"), what=f"dataset {dataset.ref}", reason=release)
    catalog.audit("export", kind="dataset", dataset=dataset.ref, digest=dataset.digest)
    folder.mkdir(parents=True, exist_ok=True)
    for case in dataset.cases:
        vol, truth = Datasets(catalog).load(case, dataset.labels)
        volume_to_nifti(vol, folder / f"{case.id}.nii.gz")
        mask_to_nifti(truth, folder / f"{case.id}-truth.nii.gz")
    atomic_write(folder / "dataset.json", json.dumps(told, indent=1, sort_keys=True).encode() + b"\n")
    return folder


def _table(dataset: DatasetVersion) -> dict[str, Any]:
    cases = [{"case": one.id, "patient": one.patient, "split": one.split, "facts": dict(one.facts)}
             for one in dataset.cases]  # fmt: skip
    labels = [{"value": one.index, "name": one.name} for one in dataset.labels]
    return {"dataset": dataset.ref, "digest": dataset.digest, "labels": labels, "cases": cases}
