"""From a bundle and a dataset to FROC, area and calibration: matched on the scan's own grid, failures counted."""

import json

import numpy as np
import pytest

from ailab_kernel.datasets.dataset import Annotated, Datasets
from ailab_kernel.datasets.intake import Image
from ailab_kernel.datasets.nodules import SCREENING, nodule_exam
from ailab_kernel.datasets.phantoms import TRUTH_LABELS, make, random_phantom
from ailab_kernel.datasets.projection import enlarged, radiograph_study
from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.models import Models, read_bundle, write_bundle
from ailab_kernel.recipes import find
from ailab_kernel.validation.detection import MatchRule
from ailab_kernel.validation.gates import Study, judge
from ailab_kernel.validation.rated import whole_of
from ailab_kernel.validation.scores import scores_of
from ailab_kernel.validation.scoring import score_findings, score_probability, true_lesions
from ailab_kernel.validation.subgroups import Groups
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.pack import pack, pack_mask

TINY = (56, 64, 64)


def dataset(catalog, name, studies):
    accepted = []
    for number, study in enumerate(studies):
        vol = study.volume
        image = Image(catalog.put(pack(vol)), f"patient-{number}", vol.study_uid, vol.series_uid, {"Modality": "CT"})
        accepted.append(Annotated(image, catalog.put(pack_mask(study.truth)), TRUTH_LABELS))
    return Datasets(catalog).freeze(name, accepted, split=dict.fromkeys((s.volume.series_uid for s in studies), "test"))


def nodules(*seeds):
    return [make(random_phantom(seed, style=SCREENING, size=TINY, exam=nodule_exam(seed))) for seed in seeds]


def test_a_detector_on_a_dataset_gives_froc_and_what_gates_judge(workspace):
    data = dataset(workspace.catalog, "nodules", nodules(10, 11))
    model = Models(workspace.catalog).get("lung-lesions@general")
    cases = data.split("test")
    told = [score_findings(workspace, case, models={"model": model.digest}, dataset=data.ref) for case in cases]
    assert not any(one["failures"] for one in told)
    whole = whole_of([json.loads(json.dumps(one)) for one in told], "model")
    counts = {scan.case: len(scan.lesions_ml) for scan in whole.scans}
    assert sorted(counts.values()) == [0, nodule_exam(10).nodules]
    assert {scan.patient for scan in whole.scans} == {"patient-0", "patient-1"}
    found = scores_of(told, {"model": model.ref})
    assert found.froc[model.ref].scans == 2
    assert found.auc[model.ref].positives == 1
    asked = Models(workspace.catalog).criteria(model.ref, alias="champion").criteria
    gate = judge(asked, Study((), None, None, Groups(), whole), seed=7)
    assert gate.verdict == "refused", "two patients are too few for anything"
    assert "at least 30" in gate.verdicts[1].reason


def test_a_model_that_fails_has_missed_everything_and_stays_in_the_count(workspace, tmp_path):
    """Weights so large that the answer is no number: it is held, the lesions count as missed, the scan as wrong."""
    data = dataset(workspace.catalog, "nodules", nodules(10))
    general = Models(workspace.catalog).get("lung-lesions@general")
    broken = {name: value * 1e37 if name.endswith("conv.weight") else value for name, value in general.weights().items()}
    write_bundle(tmp_path / "broken", name="broken", recipe="lung-lesions", network=general.network, state_dict=broken,
                 metadata=general.metadata)  # fmt: skip
    model = Models(workspace.catalog).add(read_bundle(tmp_path / "broken", name="broken"))
    told = score_findings(workspace, data.split("test")[0], models={"model": model.digest}, dataset=data.ref)
    assert "no numbers" in told["failures"]["model"]
    whole = whole_of([told], "model")
    assert whole.scans[0].failed
    assert whole.scans[0].found == (None,) * nodule_exam(10).nodules
    assert whole.failed == {data.split("test")[0].id}


def test_a_reference_without_the_label_is_wrong_use():
    lungs = Mask(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)), TRUTH_LABELS[:1])
    with pytest.raises(WrongUse, match="learns lesion"):
        true_lesions(find("lung-lesions"), lungs)


def test_a_classifier_on_a_dataset_gives_area_and_calibration(workspace):
    studies = [radiograph_study(seed) for seed in range(4)]
    answers = [enlarged(study.truth) for study in studies]
    assert set(answers) == {True, False}
    data = dataset(workspace.catalog, "hearts", studies)
    model = Models(workspace.catalog).get("enlarged-heart@general")
    told = [score_probability(workspace, case, models={"model": model.digest}, dataset=data.ref) for case in data.split("test")]
    rated = whole_of(json.loads(json.dumps(told)), "model").rated
    by_patient = {one.patient: one for one in rated}
    assert [by_patient[f"patient-{i}"].truth for i in range(4)] == answers
    assert all(0 <= one.probability <= 1 for one in rated)
    found = scores_of(told, {"model": model.ref})
    assert found.calibration[model.ref].n == 4
    assert (found.auc[model.ref].positives, found.auc[model.ref].negatives) == (sum(answers), 4 - sum(answers))


def test_the_rule_is_the_callers(workspace):
    data = dataset(workspace.catalog, "nodules", nodules(10))
    model = Models(workspace.catalog).get("lung-lesions@general")
    strict = score_findings(workspace, data.split("test")[0], models={"model": model.digest}, dataset=data.ref,
                            rule=MatchRule("iou", 1.0))  # fmt: skip
    found = strict["findings"]["model"]
    assert found["found"] == (None,) * nodule_exam(10).nodules, "no mask is right to the voxel"
