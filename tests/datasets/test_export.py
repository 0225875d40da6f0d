"""A dataset leaves as NIfTI and a table, without UIDs, and not at all where the table names somebody."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.datasets.dataset import Datasets
from ailab_kernel.datasets.export import export_dataset
from ailab_kernel.ground.errors import DatasetError, ExitBlocked
from ailab_kernel.volumes.nifti import mask_from_nifti, volume_from_nifti
from tests.datasets.test_dataset import LABELS, annotated


def test_images_truths_and_table(workspace, tmp_path):
    catalog = workspace.catalog
    data = Datasets(catalog).freeze("lungs", [annotated(catalog, number) for number in range(3)])
    out = export_dataset(catalog, data, tmp_path / "out")
    told = json.loads((out / "dataset.json").read_text())
    assert [one["case"] for one in told["cases"]] == [case.id for case in data.cases]
    assert "1.2." not in json.dumps(told["cases"])
    for case in data.cases:
        vol, truth = Datasets(catalog).load(case, LABELS)
        assert np.array_equal(volume_from_nifti(out / f"{case.id}.nii.gz").array, vol.array)
        assert np.array_equal(mask_from_nifti(out / f"{case.id}-truth.nii.gz", LABELS).array, truth.array)
    assert catalog.audit_trail()[-1]["event"] == "export"
    with pytest.raises(DatasetError, match="not empty"):
        export_dataset(catalog, data, out)


def test_a_table_that_names_somebody_stays(workspace, tmp_path):
    catalog = workspace.catalog
    catalog.remember({"PatientName": ["Quixano^Alonso"]})
    one = annotated(catalog, 1)
    named = replace(one, image=replace(one.image, facts={"SeriesDescription": "Quixano lung"}))
    data = Datasets(catalog).freeze("lungs", [named, *(annotated(catalog, number) for number in (2, 3))])
    with pytest.raises(ExitBlocked, match=r"PatientName in dataset\.json"):
        export_dataset(catalog, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_dataset(catalog, data, tmp_path / "out", release="consent of both")
    assert [row["event"] for row in catalog.audit_trail()][-2:] == ["exit-released", "export"]
