"""``ailab task`` as a person types it."""

import json

import numpy as np
import pytest

from ailab_kernel.annotation.task import get_task
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.volumes.masks import Mask

from .running import ailab as run


@pytest.fixture
def filled(workspace):
    for seed in (89, 90):
        images = make_objects(seed, style="general-hospital", size=(8, 32, 32), spacing_mm=(15.0, 11.2, 11.0))
        workspace.archive.store([ds for ds in images if ds.Modality == "CT"])
    return workspace


def test_a_worklist_from_the_terminal(filled, capsys):
    def ailab(*words, code=0) -> str:
        assert run(*words) == code
        told = capsys.readouterr()
        return told.out or told.err

    assert json.loads(ailab("annotate", "--label", "heart wall", "--order", "random", "--json"))["task"] == "heart-wall@1"
    assert ailab("task", "assign", "heart-wall@1", "2", "--reader", "ann") == "case 2 of heart-wall@1 is assigned\n"
    assert "heart-wall@1 has the cases 1 to 2" in ailab("task", "accept", "heart-wall@1", "3", "--reviewer", "cleo", code=2)
    task = get_task(filled, "heart-wall")
    uid = task.series_uids[1]
    grid = task.volume(uid).grid
    task.submit(uid, Mask(np.zeros(grid.shape, np.uint8), grid, task.recipe.labels), reader="ann", seconds=150)
    assert "somebody else reviews it" in ailab("task", "accept", "heart-wall@1", "2", "--reviewer", "ann", code=2)
    assert "is returned" in ailab("task", "return", "heart-wall", "2", "--reviewer", "cleo", "--reason", "empty")
    shown = ailab("task", "show", "heart-wall")
    assert "returned" in shown
    assert "2.5" in shown
    assert "ann" not in shown
    ailab("annotate", "--label", "heart wall", "--readers", "ann,ben", "--adjudicator", "cleo")
    assert "blindness is held where the hub's service runs" in ailab("task", "show", "heart-wall@2")
    listed = json.loads(ailab("task", "list", "--json"))
    assert [(one["task"], one["readers"], one["cases"]) for one in listed] == [("heart-wall@1", 0, 2), ("heart-wall@2", 2, 2)]
    assert "nothing to compare yet" in ailab("task", "agreement", "heart-wall@2", code=2)
