"""The archives that the conformance suite runs against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ailab_kernel.archives import Archive, open_archive
from tests.services import Orthanc, orthanc


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for all tests."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def pacs(running_orthanc: Orthanc) -> Orthanc:
    """An Orthanc that holds nothing."""
    running_orthanc.wipe()
    return running_orthanc


@pytest.fixture(params=["folder", "dicomweb"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An empty archive of each kind."""
    if request.param == "folder":
        return open_archive(f"folder:{tmp_path / 'archive'}")
    return open_archive(request.getfixturevalue("pacs").url)
