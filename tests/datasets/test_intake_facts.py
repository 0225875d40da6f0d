"""What an image tells about itself when it comes in: its site, and a hash of its pixels that finds it under other UIDs."""

from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.datasets.dataset import Annotated, Datasets
from ailab_kernel.datasets.intake import main_series, pixel_hash, take_in
from ailab_kernel.datasets.lineage import shared_with
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.ground.errors import Leakage
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label
from ailab_kernel.volumes.volume import Volume
from tests.models.test_bundle import make_bundle

LABELS = (Label(1, "lung", LUNG),)


def taken(workspace, **changes):
    instances = [ds for ds in make_objects(603_000, style="mixed", size=(8, 24, 24)) if ds.Modality == "CT"]
    for ds in instances:
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        if "StudyInstanceUID" in changes:
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SeriesInstanceUID}.{ds.InstanceNumber}"
    workspace.archive.store(instances)
    study, = workspace.archive.search_studies(study=instances[0].StudyInstanceUID)
    return take_in(workspace, main_series(workspace.archive.search(study=study.uid)[0]))


def test_a_phantoms_site_has_its_name(workspace):
    image = taken(workspace)
    assert image.facts["site"] == "Phantom mixed"
    assert len(image.facts["pixels"]) == 64


def test_any_other_site_is_a_pseudonym(workspace):
    image = taken(workspace, InstitutionName="St. Elsewhere", StudyDescription="CT", DeidentificationMethod="X")
    assert image.facts["site"] == f"site {workspace.catalog.pseudonym('site', 'St. Elsewhere')[:6]}"
    assert "Elsewhere" not in str(workspace.catalog.query("image"))
    none = taken(workspace, InstitutionName="", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    assert "site" not in none.facts


def test_equal_pixels_under_other_uids_are_found(workspace, tmp_path):
    first = taken(workspace)
    again = taken(workspace, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4", PatientID="PHANTOM-OTHER")
    assert first.digest != again.digest
    assert first.patient != again.patient
    assert first.facts["pixels"] == again.facts["pixels"]
    data = Datasets(workspace.catalog)
    both = [Annotated(image, "0" * 64, LABELS) for image in (first, again)]
    with pytest.raises(Leakage, match=r"image .* stands in test and train"):
        data.freeze("both", both, split={first.series_uid: "train", again.series_uid: "test"})
    from ailab_kernel.models import Models

    learned = data.freeze("learned", both[:1], split=(1.0, 0.0, 0.0))
    tested = data.freeze("tested", both[1:], split=(0.0, 0.0, 1.0))
    model = Models(workspace.catalog).add(Models(workspace.catalog).import_bundle(make_bundle(tmp_path / "b")),
                                          parents=(learned.digest,))  # fmt: skip
    record, = workspace.catalog.query("model", digest=model.digest)
    shared, = shared_with(workspace.catalog, record, tested)
    assert (shared.patients, shared.pixels, shared.learned) == (0, 1, 1)


def test_a_pixel_hash_is_of_values_and_shape():
    grid = Grid((2, 3, 4), np.eye(4))
    vol = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), grid)
    big_endian = replace(vol, array=vol.array.astype(">i2"))
    assert pixel_hash(vol) == pixel_hash(big_endian)
    assert pixel_hash(vol) == pixel_hash(replace(vol, array=np.asfortranarray(vol.array)))
    assert pixel_hash(vol) != pixel_hash(replace(vol, array=vol.array.reshape(3, 2, 4)))
    assert pixel_hash(vol) != pixel_hash(replace(vol, array=vol.array + 1))
