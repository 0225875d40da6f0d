"""Findings are pieces of a probability, numbered from the surest; only a detector gives them."""

from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.datasets.nodules import SCREENING, nodule_exam
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.ground.errors import ModelError
from ailab_kernel.inference.detect import detect, pieces
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models.registry import base_bundle
from ailab_kernel.recipes import find
from ailab_kernel.volumes.geometry import Grid

GRID = Grid((6, 12, 14), np.diag([3.0, 2.0, 1.0, 1.0])[[2, 1, 0, 3]])


def likely() -> np.ndarray:
    field = np.zeros(GRID.shape, np.float32)
    field[1:3, 2:4, 2:5], field[1, 2, 2] = 0.3, 0.4
    field[3, 4, 5] = 0.3                       # touches by a corner: the same finding
    field[4:6, 8:10, 9:12], field[5, 9, 10] = 0.6, 0.9
    field[0, 11, 13] = 0.19
    return field


def test_pieces_are_numbered_from_the_surest_and_scored_by_their_peak():
    found = pieces(likely(), GRID, above=0.2)
    assert found.scores == pytest.approx({1: 0.9, 2: 0.4})
    assert found.score == pytest.approx(0.9)
    assert found.numbered.dtype == np.int32
    assert found.numbered[5, 9, 10] == found.numbered[4, 8, 9] == 1
    assert found.numbered[1, 2, 2] == found.numbered[3, 4, 5] == 2
    assert np.bincount(found.numbered.ravel())[1:].tolist() == [12, 13]
    assert found.grid is GRID


def test_nothing_found_is_an_answer():
    found = pieces(np.zeros(GRID.shape, np.float32), GRID, above=0.2)
    assert (found.scores, found.score, int(found.numbered.max())) == ({}, 0.0, 0)


def test_a_threshold_only_adds_findings():
    few, many = (pieces(likely(), GRID, above=above) for above in (0.5, 0.1))
    assert len(few.scores) == 1 < len(many.scores) == 3
    assert not ((few.numbered > 0) & (many.numbered == 0)).any()


def test_a_model_of_masks_finds_nothing_one_by_one():
    with pytest.raises(ModelError, match="gives masks, not findings"):
        detect(Predictor(base_bundle("lungs"), engine="torch"), make(random_phantom(1, size=(8, 16, 16))).volume)


def test_the_detector_answers_on_the_volumes_own_grid_the_same_every_time():
    study = make(random_phantom(4, style=SCREENING, size=(60, 72, 72), exam=nodule_exam(4)))
    predictor = Predictor(base_bundle("lung-lesions"), engine="torch")
    found, again = (detect(predictor, study.volume) for _ in range(2))
    assert found.numbered.shape == study.volume.array.shape
    assert found.grid.matches(study.volume.grid)
    assert found.numbered.tobytes() == again.numbered.tobytes()
    assert found.scores == again.scores
    assert all(find("lung-lesions").candidates["lesion"] <= score <= 1 for score in found.scores.values())
    assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
    with pytest.raises(ModelError, match="not findings with scores of 'lung'"):
        detect(predictor, study.volume, label="lung")


def test_candidates_are_part_of_what_a_recipe_is():
    recipe = find("lung-lesions")
    assert replace(recipe, candidates={"lesion": 0.2}).digest != recipe.digest
    # Recipes without it keep the digests that they had before there were candidates (commit 190d74a).
    before = {"brain-tissue": "7147c5b32675", "heart-wall": "e875230d3eb1", "lungs": "982316233357"}
    assert {name: find(name).digest[:12] for name in before} == before
