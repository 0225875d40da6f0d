"""Phantoms: the same in every process, no two alike, a chest by its numbers, and CT that dciodvfy accepts."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from pydicom import dcmread
from scipy import ndimage

from ailab_kernel.datasets.phantom_dicom import is_phantom, write_series
from ailab_kernel.datasets.phantoms import STYLES, TRUTH_LABELS, make, random_phantom, study_uid, to_dicom
from ailab_kernel.datasets.styles import Exam, Scanner
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.series import volume_from_datasets

SMALL = (24, 48, 48)
LUNG, WALL, CAVITY, _ = TRUTH_LABELS
HASH = """
import hashlib
from ailab_kernel.datasets.phantoms import make, random_phantom
study = make(random_phantom(11, style="mixed", size=(24, 48, 48)))
print(hashlib.sha256(study.volume.array.tobytes() + study.truth.array.tobytes()).hexdigest())
"""


def digest(study):
    return hashlib.sha256(study.volume.array.tobytes() + study.truth.array.tobytes()).hexdigest()


@pytest.fixture(scope="module", params=sorted(STYLES))
def study(request):
    return make(random_phantom(5, style=request.param, size=(48, 80, 80)))


def test_another_process_makes_the_same_bytes():
    made = subprocess.run([sys.executable, "-c", HASH], check=True, capture_output=True, text=True)
    assert made.stdout.strip() == digest(make(random_phantom(11, style="mixed", size=SMALL)))


def test_no_two_seeds_and_no_two_styles_are_alike():
    phantoms = [random_phantom(seed, style=style, size=(10, 24, 24)) for style in STYLES for seed in range(40)]
    studies = [make(phantom) for phantom in phantoms]
    assert len({digest(s) for s in studies}) == len({s.volume.array.tobytes() for s in studies}) == len(phantoms)
    assert len({study_uid(phantom) for phantom in phantoms}) == len(phantoms)


def test_neighbours_differ_in_anatomy_not_only_in_noise():
    spacing = (8.0, 8.0, 8.0)
    truths = [make(random_phantom(seed, style="university", size=(40, 48, 48), spacing_mm=spacing)).truth.array == 1
              for seed in range(6)]  # fmt: skip
    for a, b in combinations(truths, 2):
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) < 0.93


def test_every_flip_is_noticed(study):
    lungs, heart = study.truth.where(LUNG), study.truth.where(WALL)
    for axis in range(3):
        assert (np.flip(lungs, axis) != lungs).sum() > 0.05 * lungs.sum()
        assert not heart.any() or (np.flip(heart, axis) & heart).sum() < 0.9 * heart.sum()


def test_left_ventricle_lies_to_the_left_and_lungs_keep_to_their_sides():
    made = make(random_phantom(2, style="university", size=(60, 96, 96)))
    index = np.argwhere(made.truth.where(WALL)).mean(0)
    spine = np.argwhere(made.truth.where(LUNG)).mean(0)
    assert (made.truth.grid.affine @ [*index, 1])[0] > (made.truth.grid.affine @ [*spine, 1])[0] + 10


@pytest.mark.parametrize("style", sorted(STYLES))
def test_attenuation_is_that_of_a_chest(style):
    for seed in range(5):
        made = make(random_phantom(seed, style=style, size=(40, 72, 72)))
        values, truth = made.volume.values, made.truth.array
        core = ndimage.binary_erosion(truth == LUNG.index)
        assert -985 < np.median(values[core]) < -620
        assert values.max() > 250
        assert values.min() >= made.phantom.scanner.padding_hu
        if (truth == WALL.index).sum() > 300:
            assert 20 < np.median(values[truth == WALL.index]) < 160


def test_phases_differ_where_contrast_medium_goes():
    home, away = (make(random_phantom(9, style=style, size=(60, 96, 96))) for style in ("university", "general-hospital"))
    blood = [np.percentile(s.volume.values[s.truth.where(CAVITY)], 85) for s in (home, away)]
    assert blood[0] > blood[1] + 60
    assert home.phantom.scanner.vendor != away.phantom.scanner.vendor
    assert home.phantom.kernel != away.phantom.kernel


def test_volumes_are_those_of_people():
    for seed in range(8):
        volumes = make(random_phantom(seed, style="university", size=(60, 80, 80))).truth.volumes_ml()
        assert 1500 < volumes["lung"] < 8500
        assert 50 < volumes["heart-wall"] < 330
        assert 120 < volumes["heart-cavity"] < 1100


def test_outside_air_and_windpipe_are_not_lung(study):
    values, lungs = study.volume.values, study.truth.where(LUNG)
    edge = np.ones_like(lungs)
    edge[:, 1:-1, 1:-1] = False
    outside = ndimage.binary_propagation(edge & (values < -500), mask=values < -500, structure=_in_plane())
    touching = (outside & lungs).sum() / max(lungs.sum(), 1)
    assert touching < 0.01 or (edge & lungs).any()
    assert ((values < -970) & ~lungs).any()


def _in_plane():
    cross = np.zeros((3, 3, 3), bool)
    cross[1] = ndimage.generate_binary_structure(2, 1)
    return cross


def _on(phantom, shape, axes_mm):
    """The phantom on another grid about the same middle; ``axes_mm`` are its columns in LPS mm."""
    old = phantom.grid
    middle = old.affine @ [*((np.array(old.shape) - 1) / 2), 1]
    affine = np.eye(4)
    affine[:3, :3] = axes_mm
    affine[:3, 3] = middle[:3] - axes_mm @ ((np.array(shape) - 1) / 2)
    return replace(phantom, grid=Grid(shape, affine))


@pytest.fixture(scope="module")
def whole():
    """A phantom whose lungs lie well inside its 4 mm grid, with no circular field of view."""
    phantom = random_phantom(3, style="university", size=(100, 104, 104), spacing_mm=(4.0, 4.0, 4.0))
    phantom = replace(phantom, traits={**phantom.traits, "round_field": 0.0})
    return phantom, make(phantom).truth.volumes_ml()


@pytest.mark.parametrize("spacing", [(2.5, 3.0, 3.0), (6.0, 2.5, 2.5), (3.0, 5.0, 4.0)])
def test_truth_is_as_large_at_any_spacing(whole, spacing):
    phantom, expected = whole
    shape = tuple(int(400 / s) for s in spacing)
    axes = np.array([(0, 0, spacing[0]), (0, spacing[1], 0), (spacing[2], 0, 0)]).T
    found = make(_on(phantom, shape, axes)).truth.volumes_ml()
    assert found["lung"] == pytest.approx(expected["lung"], rel=0.02)
    assert found["heart-wall"] == pytest.approx(expected["heart-wall"], rel=0.06)
    assert found["heart-cavity"] == pytest.approx(expected["heart-cavity"], rel=0.03)


@pytest.mark.parametrize("degrees", [7, 25])
def test_truth_is_as_large_on_oblique_slices(whole, degrees):
    phantom, expected = whole
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([(1, 0, 0), (0, c, -s), (0, s, c)]) @ np.array([(c, -s, 0), (s, c, 0), (0, 0, 1)])
    axes = turn @ np.array([(0, 0, 3.5), (0, 3.5, 0), (3.5, 0, 0)]).T
    found = make(_on(phantom, (150, 150, 150), axes)).truth.volumes_ml()
    assert found["lung"] == pytest.approx(expected["lung"], rel=0.02)
    assert found["heart-wall"] == pytest.approx(expected["heart-wall"], rel=0.06)


def test_every_requested_size_is_made():
    for size in ((40, 64, 64), (7, 33, 50), (1, 64, 48)):
        made = make(random_phantom(1, style="mixed", size=size))
        assert made.volume.array.shape == made.truth.array.shape == made.truth.grid.shape == size


def test_instances_read_back_as_the_same_volume(study):
    instances, segmentation = to_dicom(study)
    volume = volume_from_datasets(instances)
    assert np.array_equal(volume.values, study.volume.values)
    assert volume.grid.matches(study.volume.grid)
    assert (volume.study_uid, volume.series_uid) == (study.volume.study_uid, study.volume.series_uid)
    assert segmentation.StudyInstanceUID == study.volume.study_uid
    assert {i.PatientIdentityRemoved for i in instances} == {"YES"}


def test_a_phantom_says_so_and_a_patient_does_not(study, tmp_path):
    write_series(study, tmp_path)
    first = dcmread(sorted(tmp_path.iterdir())[0])
    assert is_phantom(first)
    first.PatientID = "12345"
    assert not is_phantom(first)


def test_slices_follow_the_normal_without_gaps(study):
    places = [np.array(i.ImagePositionPatient, float) for i in write_series(study)]
    normal = study.volume.grid.affine[:3, 0] / study.volume.spacing_mm[0]
    assert np.allclose([(b - a) @ normal for a, b in pairwise(places)], study.volume.spacing_mm[0], atol=1e-4)


def test_dciodvfy_finds_no_error(study, tmp_path):
    checker = shutil.which("dciodvfy")
    if checker is None:
        if os.environ.get("AILAB_REQUIRE_SERVICES") == "1":
            pytest.fail("dciodvfy is not installed: apt-get install dicom3tools")
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    write_series(study, tmp_path)
    for path in sorted(tmp_path.iterdir())[::16]:
        verdict = subprocess.run([checker, str(path)], check=False, capture_output=True, text=True)
        assert "Error" not in verdict.stdout + verdict.stderr


def test_what_is_asked_of_an_exam():
    plain = make(random_phantom(21, style="university", size=SMALL))
    assert make(random_phantom(21, style="university", size=SMALL, exam=Exam())).volume.series_uid == plain.volume.series_uid
    scanner = Scanner("PHANTOM OTHER", "Two 64", "V2")
    asked = Exam(obliquity_deg=(10, -6, 4), noise_hu=40, contrast="none", lesions=3, scanner=scanner)
    other = make(random_phantom(21, style="university", size=SMALL, exam=asked))
    assert other.volume.series_uid != plain.volume.series_uid
    assert other.volume.facts["Manufacturer"] == "PHANTOM OTHER"
    assert abs(other.volume.affine_lps[2, 1]) > 0.05, "the grid is oblique"
    blood = [study.volume.values[study.truth.array == 3].mean() for study in (plain, other)]
    assert blood[0] > 200 > 100 > blood[1], "without contrast blood is dark"
    quiet = make(random_phantom(21, style="university", size=SMALL, exam=Exam(noise_hu=40, dose=16)))
    loud = make(random_phantom(21, style="university", size=SMALL, exam=Exam(noise_hu=40)))
    pool = (loud.truth.array[..., 1:] == 3) & (loud.truth.array[..., :-1] == 3)
    spread = [np.diff(study.volume.values, axis=2)[pool].std() for study in (quiet, loud)]
    assert spread[0] < 0.7 * spread[1]
    assert make(random_phantom(21, style="university", size=SMALL, exam=Exam(lesions=0))).truth.volumes_ml()["lesion"] == 0
