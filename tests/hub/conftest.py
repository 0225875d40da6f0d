"""One hub for all tests of it: starting one takes some seconds."""

import pytest

from tests.services import need_service

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
