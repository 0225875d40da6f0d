"""A desk for a cell: a phantom, a helper that a test holds the strings of, and two other readers' masks."""

import time
from pathlib import Path

import numpy as np

from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.series import volume_from_datasets
from tests.annotation.test_session import LABELS as CANARY_LABELS

CODE = CANARY_LABELS[0].code
LABELS = (Label(1, "heart-wall", CODE, color=(203, 65, 58)), Label(2, "heart-cavity", CODE, color=(240, 180, 70)))
RADIUS = 12.0


def phantom(size=(20, 96, 96), spacing_mm=(7.0, 3.9, 3.7)):
    return volume_from_datasets([ds for ds in make_objects(172, style="general-hospital", size=size, spacing_mm=spacing_mm) if ds.Modality == "CT"])


def ball(vol, place, radius=RADIUS) -> np.ndarray:
    """Distance from a place, in the patient."""
    away = (np.indices(vol.grid.shape).reshape(3, -1).T - np.array(place)) @ vol.grid.affine[:3, :3].T
    return (np.linalg.norm(away, axis=1) <= radius).reshape(vol.grid.shape)


class Balls:
    """Marks a ball at each click, takes one away at each background click; waits for a file ``go``, fails at ``fail``."""

    name = "balls@1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def refine(self, vol, array, hints, *, label):
        with (self.folder / "asked").open("a") as asked:
            asked.write(f"{len(hints)}\n")
        while not (self.folder / "go").exists():
            time.sleep(0.02)
        if (self.folder / "fail").exists():
            raise ValueError("broken inside")
        found = array.copy()
        for hint in hints:
            there = ball(vol, hint.place)
            found[there & (found == (0 if hint.label else label))] = hint.label
        return found


def references(vol) -> dict[str, Mask]:
    middle = [size / 2 for size in vol.grid.shape]
    one, two = (ball(vol, [middle[0], middle[1] - 4 + shift, middle[2] + shift], 40.0) for shift in (0, 9))
    return {"reader-a": Mask(one.astype(np.uint8), vol.grid, LABELS), "reader-b": Mask(two.astype(np.uint8) * 1, vol.grid, LABELS)}


def desk(folder: str | Path, *, others: bool = False, refined: bool = True, vol=None) -> Annotator:
    """The desk; saving writes ``mask.npy``."""
    folder, vol = Path(folder), vol or phantom()
    session = Session(folder / "strokes", vol, case=Case("", vol.series_uid, "reader-1", LABELS))

    def save() -> dict:
        np.save(folder / "mask.npy", session.array)
        return {"sop_uid": "1.2.3", "at": "2026-01-01T10:00:00"}

    return Annotator(session, title="Heart wall and cavity on chest CT: case 1 of 1", save=save,
                     refiner=Balls(folder) if refined else None, references=references(vol) if others else {})
