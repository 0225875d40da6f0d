"""What was de-identified is as valid as before, refers to what it referred to, and lies where it lay."""

import re
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MediaStorageDirectoryStorage

from ailab_kernel.dicom.parsing import is_dicom
from ailab_kernel.ground.errors import DicomError, NotDeidentified
from ailab_kernel.objects.rtstruct import read_rtstruct
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.objects.sr import read_sr_volumes
from ailab_kernel.privacy.scrub import Scrubber
from ailab_kernel.volumes.series import volume_from_datasets
from tests.objects.drawings import encoded
from tests.services import need_service

from .battery.studies import Person, drawing, objects
from .objects import ct, file_of, scrubber

PROFILES = ("basic", "research", "longitudinal", "basic+uids")


@pytest.fixture(scope="module")
def study() -> list[tuple[str, bytes]]:
    return [(kind, encoded(ds)) for kind, ds in objects(Person(3, 1))]


def errors(file: bytes, folder: Path) -> set[str]:
    """What dciodvfy calls errors; the values themselves differ, so they are left out."""
    need_service("dciodvfy", package="dicom3tools")
    (folder / "object.dcm").write_bytes(file)
    said = subprocess.run(["dciodvfy", folder / "object.dcm"], capture_output=True, check=False).stderr.decode("latin-1")
    return {re.sub(r"= <[^>]*>|<[\d.]+>|(?<=UID )[\d.]+", "", line) for line in said.splitlines() if line.startswith("Error")}


@pytest.mark.parametrize("profile", PROFILES)
def test_dciodvfy_finds_no_error_that_was_not_there(study, tmp_path, profile):
    tool = scrubber(profile)
    for kind, file in study:
        assert errors(tool.scrub(file).file(), tmp_path) - errors(file, tmp_path) == set(), kind


def test_real_objects_get_no_error_that_they_had_not(shared_data, tmp_path):
    """One or two files of every folder of the real images, whatever they are."""
    tool, seen, refused = scrubber("basic", documents=True), 0, 0
    for number, path in enumerate(some_of(shared_data)):
        try:
            made = (scrubber(documents=True) if number % 2 else tool).scrub(path).file()
        except (DicomError, NotDeidentified):
            refused += 1                       # cut off, without UIDs, or the directory of a medium
            continue
        seen += 1
        assert errors(made, tmp_path) - errors(path.read_bytes(), tmp_path) == set(), path.name
    assert seen >= 60
    assert refused <= seen // 4


def some_of(folder: Path) -> list[Path]:
    """First file of each folder that is DICOM; the odd ones of pydicom's suite, every third."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size < 2_000_000 and is_dicom(path):
            by_folder.setdefault(path.parent, []).append(path)
    return [one for held in by_folder.values() for one in (held[::3] if "pydicom" in str(held[0]) else held[:1])]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_reference_resolves(study, profile):
    """Whatever an object refers to, and was in the study, is in the study still, as the same object."""
    before = [dcmread(BytesIO(file)) for _, file in study]
    after = scrubbed(study, scrubber(profile))
    names = {one.SOPInstanceUID: other.SOPInstanceUID for one, other in zip(before, after, strict=True)}
    assert len(set(names.values())) == len(study)
    referring = 0
    for one, other in zip(before, after, strict=True):
        held, kept = list(references(one)), list(references(other))
        assert [names[uid] for uid in held if uid in names] == [uid for uid in kept if uid in set(names.values())]
        referring += bool(set(held) & set(names))
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            if keyword in one:
                assert {other[keyword].value} == {b[keyword].value for a, b in zip(before, after, strict=True)
                                                  if keyword in a and a[keyword].value == one[keyword].value}  # fmt: skip
    assert referring >= 4                      # SEG, SR, RTSTRUCT, PR


def references(ds: Dataset) -> list[str]:
    """ReferencedSOPInstanceUIDs at any depth, in order; not the study's, which is no instance."""
    found = [str(item.ReferencedSOPInstanceUID) for element in ds if element.VR == "SQ" for item in element.value
             if "ReferencedSOPInstanceUID" in item]  # fmt: skip
    return found + [uid for element in ds if element.VR == "SQ" for item in element.value for uid in references(item)]


@pytest.mark.parametrize("profile", ["basic", "research"])
def test_what_was_drawn_lies_where_it_lay(study, profile):
    """SEG and RTSTRUCT read back on the CT, voxel for voxel; the report says the same volumes."""
    tool = scrubber(profile)
    before, after = [dcmread(BytesIO(file)) for _, file in study], scrubbed(study, tool)
    kinds = [kind for kind, _ in study]
    vol, again = (volume_from_datasets([ds for kind, ds in zip(kinds, held, strict=True) if kind == "CT"])
                  for held in (before, after))  # fmt: skip
    assert np.array_equal(vol.array, again.array)
    assert vol.grid.matches(again.grid)
    assert again.series_uid != vol.series_uid
    mask = read_seg(after[kinds.index("SEG")], again)
    assert np.array_equal(mask.array, drawing().array)
    assert [(one.name, one.code) for one in mask.labels] == [(one.name, one.code) for one in drawing().labels]
    at = kinds.index("RTSTRUCT")
    (drawn,), (redrawn,) = (read_rtstruct(held[at], on).values() for held, on in ((before, vol), (after, again)))
    assert drawn.sum() > 20
    assert np.array_equal(drawn, redrawn)
    told, retold = (read_sr_volumes(held[kinds.index("SR")]) for held in (before, after))
    assert retold == (told if profile == "research" else {})     # Basic Profile: a dummy of the content tree


def scrubbed(study: list[tuple[str, bytes]], tool: Scrubber) -> list[Dataset]:
    return [dcmread(BytesIO(tool.scrub(file).file())) for _, file in study]


def test_the_directory_of_a_medium_is_refused():
    ds = ct()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    with pytest.raises(NotDeidentified, match="directory of a medium"):
        scrubber().scrub(file_of(ds))
