from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.datasets.dataset import Annotated, Datasets
from ailab_kernel.datasets.intake import Image
from ailab_kernel.datasets.lineage import check_unseen, lineage
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.ground.errors import DatasetError, Leakage, NotFound, SealBroken
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.pack import pack, pack_mask
from ailab_kernel.volumes.volume import Volume

LABELS = (Label(1, "lung", LUNG),)


def annotated(catalog, number, patient=None):
    grid = Grid((2, 3, 4), np.diag([5.0, 2.0, 1.0, 1.0]))
    vol = Volume(np.full((2, 3, 4), number, np.int16), grid, series_uid=f"1.2.{number}", study_uid=f"1.1.{number}")
    image = Image(catalog.put(pack(vol)), patient or f"p{number}", f"1.1.{number}", f"1.2.{number}", {"Modality": "CT"})
    return Annotated(image, catalog.put(pack_mask(Mask(np.ones((2, 3, 4), np.uint8), grid))), LABELS)


@pytest.fixture
def datasets(workspace):
    return Datasets(workspace.catalog)


@pytest.fixture
def ten(workspace):
    return [annotated(workspace.catalog, number) for number in range(10)]


def test_the_same_content_is_one_version(datasets, ten):
    first = datasets.freeze("lungs", ten)
    assert datasets.freeze("lungs", list(reversed(ten))).ref == first.ref == "lungs@1"
    assert datasets.freeze("lungs", ten[:9]).ref == "lungs@2"
    assert datasets.get("lungs").ref == "lungs@2"
    assert datasets.get("lungs@1") == first == datasets.find(first.digest)
    assert first.labels == LABELS
    assert "train" in first._repr_html_()


def test_loading_checks_the_bytes(datasets, ten, workspace):
    data = datasets.freeze("lungs", ten)
    vol, mask = datasets.load(data.cases[0], data.labels)
    assert mask.labels == LABELS
    assert vol.array.dtype == np.int16
    path = workspace.catalog.path(data.cases[0].image)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for act in (lambda: datasets.load(data.cases[0], data.labels), lambda: datasets.check(data)):
        with pytest.raises(SealBroken):
            act()


def test_leaked_patients_are_refused(datasets, workspace, ten):
    leaked = [replace(one, image=replace(one.image, patient="same")) for one in ten[:2]]
    with pytest.raises(Leakage, match="patient same"):
        datasets.freeze("lungs", leaked, split={"1.2.0": "train", "1.2.1": "test"})
    with pytest.raises(DatasetError, match="has no split"):
        datasets.freeze("lungs", ten[:2], split={"1.2.0": "train"})
    with pytest.raises(NotFound):
        datasets.get("lungs")


def test_labels_must_agree(datasets, ten):
    other = replace(ten[1], labels=(Label(1, "heart", LUNG),))
    with pytest.raises(DatasetError, match="2 different label sets"):
        datasets.freeze("lungs", [ten[0], other])


def test_an_empty_split_is_told(datasets, ten):
    data = datasets.freeze("lungs", ten, split=(0.8, 0.2, 0.0))
    with pytest.raises(DatasetError, match="no test cases"):
        data.split("test")


def test_a_model_that_saw_a_patient_cannot_be_validated_on_it(datasets, workspace, ten):
    catalog = workspace.catalog
    learned = datasets.freeze("lungs", ten[:6], split=(0.5, 0.5, 0.0))
    base = catalog.append("model", {"n": 0}, name="lungs")
    tuned = catalog.append("model", {"n": 1}, name="lungs", parents=[base.digest, learned.digest])
    grandchild = catalog.append("model", {"n": 2}, name="lungs", parents=[tuned.digest])
    assert {record.ref for record in lineage(catalog, grandchild).ancestors} == {"lungs@2", "lungs@1"}
    unseen = datasets.freeze("check", ten[6:], split=(0, 0, 1))
    check_unseen(catalog, grandchild, unseen)
    seen = datasets.freeze("check", ten[5:], split=(0, 0, 1))
    with pytest.raises(Leakage, match="1 patients"):
        check_unseen(catalog, grandchild, seen)
    check_unseen(catalog, base, seen)
