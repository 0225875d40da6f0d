"""The seed's section 3.4 at its own image size: processing seconds per study of 512×512×100, and what they amount to.

A few studies are measured and multiplied (said so in the table); ``make demo FULL=1`` runs all of them. Goals on 2
cores: 100 proposals in 180 s, 20 validated in 30 s, 30 inferred in 20 s.
"""

import statistics
import tempfile
from pathlib import Path

from ailab_kernel.annotation.assist import annotate_case
from ailab_kernel.annotation.task import create_task
from ailab_kernel.datasets.dataset import Datasets
from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.inference.series import infer_series, predictor
from ailab_kernel.models import Models
from ailab_kernel.recipes import find
from ailab_kernel.validation.cases import score_case
from ailab_kernel.workspace import open_workspace

STUDIES = 3
SIZE, SPACING = (100, 512, 512), (3.0, 0.7, 0.7)
BASE = "heart-wall@general"


def main():
    """Measure a few studies and print the table."""
    with tempfile.TemporaryDirectory() as home:
        workspace = open_workspace(Path(home), home=home)
        bundle = Models(workspace.catalog).get(BASE)
        series = [_store(workspace, seed) for seed in range(700_000, 700_000 + STUDIES + 1)]
        predictor(workspace, bundle.digest).engine  # noqa: B018 - qualified once a machine, not once a study
        task = create_task(workspace, find("heart-wall"), series, assist=bundle.digest)
        proposed = [annotate_case(workspace, task.ref, uid, reader="none")["seconds"] for uid in series]
        inferred = [infer_series(workspace, bundle.digest, uid)["seconds"] for uid in series]
        reference = create_task(workspace, find("heart-wall"), series)
        for uid in series:
            annotate_case(workspace, reference.ref, uid, reader="reference")
        data = Datasets(workspace.catalog).freeze("check", _accepted(workspace, reference), split=(0, 0, 1))
        validated = [score_case(workspace, case, models={"model": bundle.digest}, dataset=data.ref, tolerance_mm=3.0)
                     ["seconds"]["model"] for case in data.cases]  # fmt: skip
    print(f"512×512×100, {STUDIES} studies after one to warm up, {predictor(workspace, bundle.digest).engine}")
    _row("proposal (read, keep, predict)", proposed[1:], 100, 180)
    _row("validation (predict, score)", validated[1:], 20, 30)
    _row("inference (read, predict, SEG + SR, store)", [sum(one.values()) for one in inferred[1:]], 30, 20)
    for stage in inferred[0]:
        print(f"    {stage:<8}{statistics.median(one[stage] for one in inferred[1:]):6.2f} s")


def _store(workspace, seed):
    study = make(random_phantom(seed, style="general-hospital", size=SIZE, spacing_mm=SPACING))
    instances, seg = to_dicom(study)
    workspace.archive.store([*instances, seg])
    return study.volume.series_uid


def _accepted(workspace, task):
    from ailab_kernel.annotation.task import get_task

    return get_task(workspace, task.ref).accepted()


def _row(what, seconds, count, goal):
    median = statistics.median(seconds)
    total = f"{count} of them {median * count:6.0f} s by multiplication (goal {goal} s)"
    print(f"{what:<44}{median:6.2f} s a study, {total}")


if __name__ == "__main__":
    main()
