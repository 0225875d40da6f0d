"""A model proposes, a reader corrects: one case of a task from image to accepted mask."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ailab_kernel.annotation.reader import NAME, correct
from ailab_kernel.annotation.task import Task, get_task
from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.inference.series import predictor
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.recipes.recipe import Recipe, truth_values
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .order import keep_score, uncertainty

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.workspace import Workspace

READERS = ("none", "simulated", "reference")


def annotate_case(workspace: "Workspace", task: str, series_uid: str, *, reader: str = "none") -> Mapping[str, Any]:
    """Bring one case of a task as far as it goes without a person.

    Parameters
    ----------
    workspace
        Archive and catalog.
    task
        ``name@version``.
    series_uid
        SeriesInstanceUID (0020,000E).
    reader
        ``none``: leave the proposal for a person. ``simulated``: a simulated reader corrects the proposal towards
        the SEG that the archive holds for the series, and a simulated reviewer accepts it. ``reference``: that SEG
        itself is taken as the annotation.

    Returns
    -------
    dict
        JSON values: ``state``, ``mask`` and ``proposal`` (digests), ``changed`` (share), ``volumes_ml``, ``seconds``.
    """
    if reader not in READERS:
        msg = f"reader {reader!r}: one of {', '.join(READERS)} is expected"
        raise WrongUse(msg)
    current, started = get_task(workspace, task), time.perf_counter()
    vol = current.volume(series_uid)
    if current.assist and not current.steps(series_uid):
        current = _propose(current, vol)
    proposed = time.perf_counter() - started
    if reader != "none" and current.state(series_uid) in {"", "proposed", "returned"}:
        current = current.submit(series_uid, _read(current, vol, reader), reader=_name(reader))
    if reader != "none" and current.state(series_uid) == "submitted":
        current = current.accept(series_uid, reviewer=f"{_name(reader)}, not reviewed by a person")
    return _told(current, series_uid, proposed)


def _propose(task: Task, vol: Volume) -> Task:
    """Record the model's proposal and how unsure it is of it."""
    model = predictor(task.workspace, task.assist)
    scores, grid = model.scores(vol)
    keep_score(task.workspace.catalog, vol.series_uid, uncertainty(scores), model=task.assist)
    return task.propose(vol.series_uid, model.mask(vol, scores, grid))


def _told(task: Task, series_uid: str, seconds: float) -> Mapping[str, Any]:
    steps = task.steps(series_uid)
    by_state = {step.state: step for step in steps}
    return {
        "series": series_uid,
        "state": task.state(series_uid),
        "proposal": by_state["proposed"].mask if "proposed" in by_state else "",
        "mask": steps[-1].mask if steps else "",
        "changed": by_state["submitted"].changed if "submitted" in by_state else 0.0,
        "volumes_ml": task.mask(series_uid).volumes_ml() if steps else {},
        "seconds": round(seconds, 3),
    }


def _name(reader: str) -> str:
    return NAME if reader == "simulated" else "segmentation from the archive"


def _read(task: Task, vol: Volume, reader: str) -> Mask:
    truth = reference_mask(task, vol)
    if reader == "reference" or not task.steps(vol.series_uid):
        return truth
    return correct(task.mask(vol.series_uid), truth)


def reference_mask(task: Task, vol: Volume) -> Mask:
    """Return the task's labels from the SEG that the archive holds for this series.

    Raises
    ------
    NotFound
        The archive holds no SEG that refers to the series.
    """
    for series in task.workspace.archive.search_series(vol.study_uid, modality="SEG"):
        for ds in task.workspace.archive.retrieve(series):
            if _refers_to(ds, vol.series_uid) and not _is_ours(ds):
                return labels_of(task.recipe, read_seg(ds, vol))
    msg = f"the archive holds no segmentation for series {vol.series_uid}; a person has to annotate it"
    raise NotFound(msg)


def labels_of(recipe: Recipe, truth: Mask) -> Mask:
    """Return a SEG's values as the recipe's labels, on the same grid.

    Raises
    ------
    WrongUse
        None of the recipe's labels is among them.
    """
    array = np.zeros(truth.array.shape, np.uint8)
    values = truth_values(recipe, truth)
    for label in recipe.labels:
        array[np.isin(truth.array, values[label.name])] = label.index
    return Mask(array, truth.grid, recipe.labels)


def _refers_to(ds: "Dataset", series_uid: str) -> bool:
    """ReferencedSeriesSequence (0008,1115) names the series that a SEG was drawn on."""
    return any(item.SeriesInstanceUID == series_uid for item in ds.get("ReferencedSeriesSequence", ()))


def _is_ours(ds: "Dataset") -> bool:
    """A model's own result is no truth: SegmentAlgorithmType (0062,0008) AUTOMATIC is passed over."""
    return all(segment.SegmentAlgorithmType == "AUTOMATIC" for segment in ds.SegmentSequence)
