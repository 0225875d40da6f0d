"""The archives that the conformance suite runs against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ailab_kernel.archives import Archive, open_archive
from tests.archives.outward import free_port
from tests.services import Orthanc, orthanc


@pytest.fixture(scope="session")
def move_port() -> int:
    """Where Orthanc's C-MOVE reaches AILAB."""
    return free_port()


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory, move_port: int) -> Iterator[Orthanc]:
    """One Orthanc for all tests."""
    with orthanc(tmp_path_factory.mktemp("orthanc"), destinations={"AILAB": move_port}) as server:
        yield server


@pytest.fixture
def pacs(running_orthanc: Orthanc) -> Orthanc:
    """An Orthanc that holds nothing."""
    running_orthanc.wipe()
    return running_orthanc


@pytest.fixture(params=["folder", "dicomweb", "dimse-get", "dimse-move"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An empty archive of each kind."""
    if request.param == "folder":
        return open_archive(f"folder:{tmp_path / 'archive'}")
    pacs = request.getfixturevalue("pacs")
    move = f"?retrieve=move&listen={request.getfixturevalue('move_port')}"
    return open_archive({"dicomweb": pacs.url, "dimse-get": pacs.dimse, "dimse-move": pacs.dimse + move}[request.param])
