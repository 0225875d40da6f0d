"""One case of a detector or a classifier: predicted, held against the reference, told as plain JSON.

What `scores.scores_of` shows and `gates` judge: ``findings`` and ``probabilities`` by role of the model. A
model that fails on a case has missed all of its lesions, or is wrong about it; the case is never dropped.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ailab_kernel.datasets.dataset import Case
from ailab_kernel.inference.classify import Classifier
from ailab_kernel.inference.detect import detect
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.inference.series import predictor
from ailab_kernel.models import Models
from ailab_kernel.recipes import Recipe, find
from ailab_kernel.recipes.classification import find_classification
from ailab_kernel.recipes.recipe import truth_values
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .cases import loaded, tried
from .detection import Lesions, MatchRule, ScanFindings, connected_lesions, failed_scan, given_lesions, match_scan

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

# Said before the first detector was judged. A tenth: of a nodule of a few voxels a mask that is right may have little
# more in common, and two neighbours have nothing.
RULE = MatchRule("iou", 0.1)


def score_findings(
    workspace: "Workspace", case: Case, *, models: Mapping[str, str], dataset: str, rule: MatchRule = RULE
) -> Mapping[str, Any]:
    """Detect in one case by each model and match what was found with the reference.

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
    rule
        When a finding is a lesion.

    Returns
    -------
    dict
        JSON values: ``case``; by role ``findings`` (`detection.ScanFindings` made plain), ``seconds``, ``failures``.
    """
    vol, truth = loaded(workspace, case, dataset)

    def _of(digest: str) -> ScanFindings:
        return scan_findings(predictor(workspace, digest), vol, truth, rule=rule)

    def _missed(digest: str) -> ScanFindings:
        return failed_scan(true_lesions(find(Models(workspace.catalog).find(digest).recipe), truth))

    told, found = tried(case, models, _of, failed=_missed)
    who = {"case": case.id, "patient": case.patient}
    return {**told, "findings": {role: asdict(replace(one, **who)) for role, one in found.items()}}


def score_probability(
    workspace: "Workspace", case: Case, *, models: Mapping[str, str], dataset: str
) -> Mapping[str, Any]:
    """Ask each model for the probability of its finding in one case; parameters as of `score_findings`.

    Returns
    -------
    dict
        JSON values: ``case``; by role ``probabilities`` (``probability``, null where the model failed, ``truth``,
        ``case`` and ``patient``), ``seconds``, ``failures``.
    """
    vol, truth = loaded(workspace, case, dataset)
    bundles = {digest: Models(workspace.catalog).find(digest) for digest in models.values()}
    told, found = tried(case, models, lambda digest: Classifier(bundles[digest]).classify(vol).probability,
                        failed=lambda _: None)  # fmt: skip
    who = {"case": case.id, "patient": case.patient}
    return {**told, "probabilities": {
        role: {"probability": one, "truth": find_classification(bundles[models[role]].recipe).truth(truth), **who}
        for role, one in found.items()}}  # fmt: skip


def scan_findings(detector: Predictor, vol: Volume, truth: Mask, *, rule: MatchRule = RULE) -> ScanFindings:
    """Return what a detector finds in one volume, matched with the lesions of its reference, both on its grid."""
    found = detect(detector, vol)
    predicted = given_lesions(found.numbered, vol.spacing_mm, scores=found.scores)
    return match_scan(predicted, true_lesions(detector.recipe, truth), rule)


def true_lesions(recipe: Recipe, truth: Mask) -> Lesions:
    """Return the lesions of a reference: the connected pieces of the label that a detector's recipe finds.

    Raises
    ------
    WrongUse
        The reference does not know that label.
    """
    called = next(iter(recipe.candidates), recipe.labels[0].name)
    voxels = np.isin(truth.array, truth_values(recipe, truth)[called])
    return connected_lesions(voxels, truth.grid.spacing_mm)
