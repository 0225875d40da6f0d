"""A page in a real Chromium for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.services import need_service

CHROMIUM = "/usr/bin/chromium"


@contextmanager
def chromium(**options: Any) -> Iterator[Any]:
    """A page; ``asked`` holds every address that it asked for, ``faults`` what went wrong on it.

    Parameters
    ----------
    options
        Of Playwright's ``new_page``.
    """
    need_service(CHROMIUM, package="chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(**options)
        page.set_default_timeout(60_000)
        page.asked, page.faults = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("websocket", lambda socket: page.asked.append(socket.url))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        yield page
        browser.close()
