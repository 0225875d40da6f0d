"""The hub in a real browser: every page looks right, and nothing is asked of any other machine."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ailab_kernel.fleet.invitations import invite

pytestmark = pytest.mark.slow


def outside(urls: list[str]) -> set[str]:
    places = {(part := urlsplit(url)).scheme + ":" + (part.hostname or "") for url in urls}
    return {one for one in places if not one.endswith(":127.0.0.1") and one not in {"data:", "blob:"}}


def test_from_the_login_to_jupyterlab_nothing_leaves_this_machine(hub, page, tmp_path):
    pictures = Path(os.environ.get("AILAB_PICTURES", tmp_path))
    password = invite(hub.private / "invitations", "viola", role="data-scientist").password
    page.goto(hub.url)
    page.screenshot(path=pictures / "1-login.png")
    page.fill("#username_input", "viola")
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_url("**/hub/**")
    page.goto(hub.url + "/hub/spawn")
    assert page.locator("input[name=tier]").evaluate_all("all => all.map(one => one.value)") == ["pilot", "blink", "gpu"]
    page.screenshot(path=pictures / "2-tiers.png")
    page.click("text=Pilot")
    page.evaluate("performance.mark('start')")
    page.click("#spawn_form button[type=submit]")
    page.wait_for_selector("#progress-message:has-text('usually it is ready in')")
    page.screenshot(path=pictures / "3-progress.png")
    page.wait_for_url("**/user/viola/lab/**")
    page.wait_for_selector(".jp-Notebook h1:has-text('Welcome, data scientist')")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.screenshot(path=pictures / "4-lab.png")
    assert page.locator("text=Would you like to receive").count() == 0, "no announcements"
    assert len(page.asked) > 50
    assert outside(page.asked) == set()
    for path in ("/hub/home", "/hub/token", "/hub/change-password"):
        page.goto(hub.url + path)
        page.screenshot(path=pictures / f"5-{path.rpartition('/')[2]}.png")
    assert outside(page.asked) == set()
