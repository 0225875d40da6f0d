"""Two labs on loopback: one shares a model over HTTP, the other validates it on its own patients and sees the shift."""

import json
from pathlib import Path

import pytest

from ailab_kernel.datasets.dataset import Annotated
from ailab_kernel.datasets.intake import main_series, take_in
from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.lab import Lab, open_lab
from ailab_kernel.models.bundle import METADATA
from ailab_kernel.models.registry import base_bundle
from ailab_kernel.models.sharing import open_shelf, pull, push, search, trusted_labs
from ailab_kernel.recipes import find
from ailab_kernel.reports.evidence_pack import check_evidence, write_evidence
from ailab_kernel.validation.metrics import renumbered
from ailab_kernel.volumes.pack import pack_mask
from tests.service.test_shelf import open_door

pytestmark = pytest.mark.slow
CASES, SIZE, SPACING = 10, (36, 80, 80), (8.0, 4.4, 4.4)


def opened(folder: Path, **patients: int) -> Lab:
    """A lab with patients of the sites' scanners, from these seeds on, frozen as ``walls@1``."""
    lab = open_lab(folder, home=folder)
    labels = find("heart-wall").labels
    items = []
    for style, seed in ((style, first + n) for style, first in patients.items() for n in range(CASES)):
        study = make(random_phantom(seed, style=style, size=SIZE, spacing_mm=SPACING))
        instances, _ = to_dicom(study)
        lab.archive.store(instances)
        series = main_series(lab.archive.search(study=study.volume.study_uid)[0])
        truth = renumbered(study.truth, labels)
        items.append(Annotated(take_in(lab.workspace, series), lab.workspace.catalog.put(pack_mask(truth)), labels))
    lab.datasets.freeze("walls", items, split=(0.0, 0.0, 1.0))
    return lab


def own_model(lab: Lab, folder: Path) -> None:
    """A model that only this lab has: the base model under its own name and card."""
    base_bundle("heart-wall").save(folder)
    told = json.loads((folder / METADATA).read_text())
    (folder / METADATA).write_text(json.dumps({**told, "name": "north-wall", "description": "Heart wall, north."}))
    lab.models.import_bundle(folder, name="north-wall")


def dice(report) -> float:
    return report.metrics["model"]["heart-wall"]["dice"]["mean"]


def test_the_receiving_lab_sees_the_shift_of_its_own_site(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("PEN", "pen")
    north = opened(tmp_path / "north", **{"university": 710_000})
    south = opened(tmp_path / "south", **{"university": 715_000, "general-hospital": 720_000})
    own_model(north, tmp_path / "bundle")
    at_home = north.validate(model="north-wall@1", dataset="walls@1")
    key = north.workspace.catalog.public_key()
    trusted = trusted_labs(f"north-hospital={key}")
    (tmp_path / "shelf").mkdir()
    with open_door(tmp_path / "shelf", *trusted) as url:
        shelf = open_shelf(f"{url}?token_env=PEN")
        push(north.workspace.catalog, "north-wall@1", shelf, lab="north-hospital")
        assert [offer.ref for _, _, offer in search(south.workspace.catalog, shelf, trusted).offers] == ["north-wall@1"]
        taken = pull(south.workspace.catalog, "north-wall", shelf, trusted=trusted)
    assert taken.digest == north.models.get("north-wall@1").digest
    here = south.validate(model=taken, dataset="walls@1")
    assert (here.metrics["cases"], here.metrics["failed"]) == (2 * CASES, 0)
    by_site = here.metrics["subgroups"]["by"]["heart-wall"]["site"]
    own, like_home = (by_site[f"Phantom {style}"] for style in ("general-hospital", "university"))
    assert own["patients"] == like_home["patients"] == CASES, "enough for an interval each"
    assert own["high"] < like_home["low"], "another scanner, contrast phase and thicker walls"
    assert max(own["p"], like_home["p"]) < 0.05
    assert like_home["mean"] == pytest.approx(dice(at_home), abs=0.03), "patients as at home fare as at home"
    assert south.verify(here.id) == ()
    path = write_evidence(south.workspace, taken.ref, tmp_path / "taken.zip")
    facts, findings = check_evidence(path)
    assert findings == (), facts
    assert "1 sealed reports" in facts[-1]
