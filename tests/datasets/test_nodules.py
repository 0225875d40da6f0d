"""Nodules lie where they say, are as large as they say, and change nothing in a phantom that has none."""

import hashlib

import numpy as np
import pytest

from ailab_kernel.datasets.anatomy import Body
from ailab_kernel.datasets.drawing import draw_patient
from ailab_kernel.datasets.nodules import DIAMETER_MM, SCREENING, depth_mm, nodule_exam
from ailab_kernel.datasets.painting import LESION, LUNG
from ailab_kernel.datasets.phantoms import make, random_phantom, study_uid
from ailab_kernel.datasets.styles import Exam
from ailab_kernel.validation.detection import connected_lesions
from ailab_kernel.volumes.geometry import Grid

SIZE = (72, 84, 84)
# Of a phantom as it was before there were nodules (commit 190d74a): pixels and truth, and the UID.
BEFORE = "e1baef6ccb7b0623", "2.25.32250967918276804970032187504615657022"
BEFORE_WITH_EXAM = "9f0cd945acd1c9b5", "2.25.141109455833668474244825528424424357156"


def screened(seed, **how):
    return make(random_phantom(seed, style=SCREENING, size=SIZE, exam=nodule_exam(seed), **how))


def drawn(seed):
    phantom = random_phantom(seed, style=SCREENING, size=SIZE, exam=nodule_exam(seed))
    return draw_patient(phantom.traits, phantom.phase, seed=seed)


@pytest.fixture(scope="module")
def pair():
    return {seed: screened(seed) for seed in (0, 4, 5)}


@pytest.mark.parametrize(("seed", "style", "exam", "known"), [(5, "mixed", Exam(), BEFORE),
                                                             (6, "university", Exam(lesions=2), BEFORE_WITH_EXAM)])
def test_phantoms_without_nodules_stay_byte_for_byte_what_they_were(seed, style, exam, known):
    phantom = random_phantom(seed, style=style, size=(24, 48, 48), exam=exam)
    study = make(phantom)
    found = hashlib.sha256(study.volume.array.tobytes() + study.truth.array.tobytes()).hexdigest()[:16]
    assert (found, study_uid(phantom)) == known


def test_every_second_seed_has_none_and_the_others_one_to_three():
    counts = [nodule_exam(seed).nodules for seed in range(200)]
    assert set(counts[1::2]) == {0}
    assert set(counts[::2]) == {1, 2, 3}


def test_truth_holds_each_nodule_in_its_place_and_size(pair):
    for seed, study in pair.items():
        wanted = sorted(one.diameter_mm for one in drawn(seed).nodules)
        found = connected_lesions(study.truth.array == LESION, study.volume.spacing_mm)
        assert len(found) == len(wanted) == nodule_exam(seed).nodules
        traits = study.phantom.traits
        scale = (traits["width"] * traits["depth"] * traits["height"]) ** (1 / 3)     # the body is larger or smaller
        sizes = sorted(2 * (ml * 750 / np.pi) ** (1 / 3) for ml in found.sizes_ml)
        assert sizes == pytest.approx([one * scale for one in wanted], rel=0.1, abs=1.0)
        if wanted:
            inside = study.volume.values[study.truth.array == LESION]
            around = np.median(study.volume.values[study.truth.array == LUNG])
            assert np.median(inside) > around + 500, "solid in air"


def test_nodules_lie_in_the_lung_and_apart():
    for seed in range(0, 24, 2):
        patient = drawn(seed)
        for one in patient.nodules:
            assert depth_mm(patient.body, one.centre) > max(one.radii)
            assert one.diameter_mm <= DIAMETER_MM[1]
        for a, b in zip(patient.nodules, patient.nodules[1:], strict=False):
            assert np.linalg.norm(np.subtract(a.centre, b.centre)) > max(a.radii) + max(b.radii)


def test_depth_agrees_with_the_painted_lungs(pair):
    study = pair[5]
    body = Body(study.phantom.traits)
    heart = depth_mm(body, body.heart_centre)
    assert heart < 0
    assert depth_mm(body, (0.0, 0.0, 600.0)) < 0


def test_no_nodule_looks_the_same_mirrored():
    one, = (nodule for nodule in drawn(2).nodules)
    axis = np.linspace(-30, 30, 41, dtype=np.float32)
    p = np.meshgrid(*(axis + middle for middle in one.centre), indexing="ij")
    edge, hu = one.paint(p)
    inside = edge < 0
    assert inside.any()
    assert all((np.flip(inside, side) != inside).sum() > 0.02 * inside.sum() for side in range(3))
    assert np.ptp(hu[inside]) > 5, "its tissue is not one value"


def test_asked_for_nodules_are_another_study():
    phantoms = [random_phantom(4, style="mixed", size=(8, 16, 16), exam=Exam(lesions=0, nodules=count)) for count in (None, 0, 2)]
    assert len({study_uid(one) for one in phantoms}) == 3


def test_a_slab_shows_what_the_whole_shows(pair):
    whole = pair[0]
    place = int(np.argwhere(whole.truth.array == LESION)[:, 0].mean())
    affine = whole.volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (place - 2)
    phantom = random_phantom(0, style=SCREENING, size=SIZE, exam=nodule_exam(0))
    slab = make(type(phantom)(phantom.seed, phantom.style, Grid((5, *SIZE[1:]), affine), phantom.traits, phantom.scanner,
                              phantom.kernel, phantom.phase, phantom.exam))
    np.testing.assert_array_equal(slab.truth.array == LESION, whole.truth.array[place - 2:place + 3] == LESION)
