"""The adapter's page as a service of the hub: people sign in with the hub, and their groups say what they may."""

import os
import time
from pathlib import Path

import pytest
import requests

from ailab_kernel.adapter.ledger import Work, Worklist
from ailab_kernel.adapter.running import Adapter
from ailab_kernel.fleet.invitations import invite
from ailab_kernel.workspace import open_workspace

from .hubs import free_ports
from .hubs import hub as started
from .test_browser import outside

pytestmark = pytest.mark.slow
PLAN = """
listen = "127.0.0.1:0"
[web]
listen = "127.0.0.1:{port}"
[web.hub]
url = "{hub}"
token = "file:{token}"
[[caller]]
ae = "SCANNER"
[[rule]]
name = "ct"
run = "infer"
parameters = {{model = "heart-wall@general"}}
when = {{Modality = "CT"}}
"""
PAGE = "/services/adapter/"


@pytest.fixture(scope="module")
def place(hub_needs, tmp_path_factory):
    """A hub, and an adapter beside it, in which one study has failed."""
    port, folder = free_ports(), tmp_path_factory.mktemp("adapter")
    with started(AILAB_HUB_ADAPTER=f"http://127.0.0.1:{port}") as hub:
        plan = folder / "adapter.toml"
        plan.write_text(PLAN.format(port=port, hub=hub.url, token=hub.private / "adapter.token"))
        with Adapter(open_workspace(home=folder / "lab"), plan, workers=0) as adapter:
            now, ledger = time.time(), adapter.inbox.ledger
            Worklist(ledger).offer(Work("w1", "1.2", "ct", "failed", "no model of that name", now, now, now + 60))
            yield hub


def enter(hub, page, name, role):
    """Open the page as somebody new, by the hub's login."""
    password = invite(hub.private / "invitations", name, role=role).password
    page.goto(hub.url + PAGE)
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_url(f"**{PAGE}")


def test_a_data_scientist_sees_it_and_may_not_press_the_button(place, page, tmp_path):
    enter(place, page, "dora", "data-scientist")
    page.wait_for_selector("#pulse:has-text('live')")
    page.screenshot(path=Path(os.environ.get("AILAB_PICTURES", tmp_path)) / "adapter-page.png")
    assert page.locator("#failures td.reason").all_inner_texts() == ["no model of that name"]
    assert page.locator("#failures button").count() == 0
    assert not page.locator("#leave").is_visible()
    assert outside(page.asked) == set()
    again = page.request.post(f"{place.url}{PAGE}again/w1", headers={"X-AILAB-Page": "1"})
    assert again.status == 403
    # What another page of the hub's address makes her browser send is not what our own page asks.
    assert page.request.get(f"{place.url}{PAGE}figures").status == 401
    assert page.request.post(f"{place.url}{PAGE}again/w1").status == 401


def test_an_admin_tries_again_what_failed(place, page):
    enter(place, page, "adam", "admin")
    page.click("#failures button:has-text('Retry')")
    page.wait_for_selector("#failures:has-text('Nothing has failed')")


def test_a_student_is_told_no(place, page):
    enter(place, page, "stina", "student")
    page.wait_for_selector("#said:has-text('stina may not watch')")
    assert not page.locator("#board").is_visible()


def test_a_session_ends_with_the_person(place, page):
    enter(place, page, "gerd", "data-scientist")
    page.wait_for_selector("#pulse:has-text('live')")
    guessed = requests.get(f"{place.url}{PAGE}oauth_callback?code=stolen&state=guessed", timeout=10)
    assert (guessed.status_code, guessed.json()["detail"]) == (400, "this sign-in was not begun here; open the page again")
    assert requests.get(f"{place.url}{PAGE}figures", headers={"X-AILAB-Page": "1"}, timeout=10).status_code == 401
    page.context.clear_cookies(name="ailab-adapter-session")
    page.wait_for_event("framenavigated")      # the hub still knows him: the page is back without a question
    page.wait_for_selector("#pulse:has-text('live')")
