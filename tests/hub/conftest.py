"""One hub for all tests of it: starting one takes some seconds."""

import pytest

from tests.browsers import chromium
from tests.services import need_service, orthanc

from .hubs import hub as started


@pytest.fixture(scope="session")
def hub_needs():
    """The hub's libraries, and the proxy that ``make .venv/hub-ready`` installs."""
    pytest.importorskip("nativeauthenticator")
    from hub_config import proxy

    need_service(str(proxy.SCRIPT), package="none: make .venv/hub-ready")


@pytest.fixture(scope="session")
def hub(hub_needs):
    """A running hub, without the trusted process."""
    with started() as running:
        yield running


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """A real Orthanc."""
    with orthanc(tmp_path_factory.mktemp("pacs") / "orthanc") as server:
        yield server


@pytest.fixture(scope="module")
def clinic(hub_needs, pacs):
    """A hub with the trusted process, whose archive is a real Orthanc."""
    with started(service="on", AILAB_ARCHIVE=pacs.url) as running:
        yield running


@pytest.fixture
def page():
    with chromium(viewport={"width": 1280, "height": 860}, ignore_https_errors=True) as page:
        yield page
