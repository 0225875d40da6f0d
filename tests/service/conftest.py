"""A service for every test that asks for one."""

from collections.abc import Iterator

import pytest

from tests.archives.conftest import move_port, pacs, running_orthanc  # noqa: F401 - fixtures
from tests.service.serving import House, serving


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    with serving(tmp_path, "anna/student", "berta/student") as running:
        yield running
