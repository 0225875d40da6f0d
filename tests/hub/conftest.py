"""One hub for all tests of it: starting one takes some seconds."""

import pytest

from tests.services import need_service

from .hubs import hub as started

CHROMIUM = "/usr/bin/chromium"


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


@pytest.fixture
def page():
    """A page in a real Chromium; ``asked`` holds every address that it asked for."""
    need_service(CHROMIUM, package="chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860}, ignore_https_errors=True)
        page.set_default_timeout(60_000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page
        browser.close()
