"""The sizing form on the admin's landing page, in a real browser."""

import os
from pathlib import Path

import pytest

from ailab_kernel.fleet.invitations import invite
from tests.browsers import chromium

pytestmark = pytest.mark.slow


def test_an_admin_answers_and_the_size_follows(hub, tmp_path):
    from playwright.sync_api import expect

    pictures = Path(os.environ.get("AILAB_PICTURES", tmp_path))
    password = invite(hub.private / "invitations", "sizer", role="admin").password
    with chromium(viewport={"width": 1500, "height": 1000}) as page:
        page.goto(hub.url)
        page.fill("#username_input", "sizer")
        page.fill("#password_input", password)
        page.click("#login_submit")
        page.wait_for_url("**/hub/**")
        page.goto(f"{hub.url}/hub/spawn?tier=pilot")
        if "/spawn" in page.url and page.locator("#spawn_form").count():
            page.click("#spawn_form button[type=submit]")
        page.wait_for_url("**/user/sizer/lab/**")
        page.wait_for_selector(".jp-Notebook h1:has-text('Welcome, hub admin')")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells")
        form = page.locator(".jp-OutputArea-output:has(button:has-text('Write answers.toml'))")
        form.locator("h2:has-text('Small')").wait_for()
        form.locator("select").first.select_option("multiple")
        expect(form.locator("h2")).to_have_text("Large")
        expect(form).to_contain_text("training several models at a time: large")
        form.locator("button:has-text('Write answers.toml')").click()
        expect(form).to_contain_text("ailab size --from answers.toml")
        form.locator("button:has-text('Run the report')").click()
        form.locator("iframe").wait_for()
        expect(form.frame_locator("iframe").locator("h1")).to_have_text("How large the site must be")
        form.scroll_into_view_if_needed()
        page.screenshot(path=pictures / "sizing-form.png")
        form.screenshot(path=pictures / "sizing-form-alone.png")
    assert 'train = "multiple"' in (hub.home / "hub" / "rooms" / "sizer" / "answers.toml").read_text()
