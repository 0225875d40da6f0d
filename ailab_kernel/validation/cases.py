"""One case of a validation: predicted by each model, scored against the truth, kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ailab_kernel.datasets.dataset import Case, Datasets, DatasetVersion, load_mask
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.inference.series import predictor
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.pack import pack_mask
from ailab_kernel.volumes.volume import Volume

from .metrics import diagonal_mm, is_tube, renumbered, score, worst

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace


def score_case(
    workspace: "Workspace", case: Case, *, models: Mapping[str, str], dataset: str, tolerance_mm: float
) -> Mapping[str, Any]:
    """Predict one case by each model and score it.

    Parameters
    ----------
    workspace
        Catalog and cache.
    case
        Whom to predict.
    models
        Role (``model``, ``baseline``) to the digest of the model's record.
    dataset
        ``name@version``, for the labels.
    tolerance_mm
        Of the surface Dice and the boundary IoU.

    Returns
    -------
    dict
        JSON values: ``scores`` by role, label and metric, ``masks`` (digests) and ``seconds`` by role, ``failures``
        by role, ``diagonal_mm`` of the image. A model that fails on the case gets the worst values and its reason;
        it is never dropped.
    """
    vol, truth = loaded(workspace, case, dataset)

    def _mask(digest: str) -> Mask:
        return renumbered(predictor(workspace, digest).predict(vol), truth.labels)

    told, found = tried(case, models, _mask, failed=lambda _: None)
    ml = truth.volumes_ml()
    scores = {role: score(mask, truth, tolerance_mm=tolerance_mm) if mask else
              {label.name: worst(truth.grid, ml[label.name], tube=is_tube(label)) for label in truth.labels}
              for role, mask in found.items()}  # fmt: skip
    masks = {role: workspace.catalog.put(pack_mask(mask)) for role, mask in found.items() if mask}
    return {**told, "scores": scores, "masks": masks, "diagonal_mm": diagonal_mm(truth.grid)}


def loaded(workspace: "Workspace", case: Case, dataset: str) -> tuple[Volume, Mask]:
    """Return image and reference of a case of the dataset ``name@version``."""
    datasets = Datasets(workspace.catalog)
    return datasets.load(case, datasets.get(dataset).labels)


def tried(
    case: Case, models: Mapping[str, str], of: Callable[[str], Any], *, failed: Callable[[str], Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``case``, ``seconds`` and ``failures`` by role, and what each role's model gave.

    Parameters
    ----------
    case, models
        As of `score_case`.
    of, failed
        Digest to what that model gives, and to what counts instead where it fails.
    """
    told: dict[str, Any] = {"case": case.id, "seconds": {}, "failures": {}}
    found: dict[str, Any] = {}
    for role, digest in models.items():
        started = time.perf_counter()
        try:
            found[role] = of(digest)
        except AilabError as error:
            told["failures"][role], found[role] = str(error), failed(digest)
        told["seconds"][role] = round(time.perf_counter() - started, 4)
    return told, found


def case_picture(
    workspace: "Workspace", case_id: str, *, scored: Sequence[Mapping[str, Any]], data: DatasetVersion
) -> tuple[Volume, Mask, Mask]:
    """Return image, prediction of the ``model`` and truth of one case, for a picture."""
    case = next(one for one in data.cases if one.id == case_id)
    vol, truth = Datasets(workspace.catalog).load(case, data.labels)
    masks: Mapping[str, str] = next((one["masks"] for one in scored if one.get("case") == case_id), {})
    predicted = load_mask(workspace.catalog, masks["model"], data.labels) if "model" in masks else _nothing(truth)
    return vol, predicted, truth


def _nothing(truth: Mask) -> Mask:
    return Mask(truth.array * 0, truth.grid, truth.labels)
