"""In a server of the hub a notebook that names a patient is open to its person, and leaves by no address."""

import pytest

from ailab_kernel.fleet.invitations import invite
from ailab_kernel.fleet.visit import Visit

from .hubs import hub as started

pytestmark = pytest.mark.slow
WRITE = """
import json
from ailab_kernel.lab import open_lab
open_lab().workspace.catalog.remember({"PatientName": ["Quixano^Alonso"]})
for name, text in (("marked", "read Alonso Quixano"), ("clean", "read nobody")):
    cell = {"id": "a", "cell_type": "code", "execution_count": 1, "metadata": {}, "source": "show()",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}
    with open(name + ".ipynb", "w") as file:
        json.dump({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, file)
"""


@pytest.fixture(scope="module")
def trusted(hub_needs):
    pytest.importorskip("ailab_kernel.service")
    with started(service="on") as running:
        yield running


def test_a_marked_notebook_opens_and_does_not_leave(trusted, page):
    visit = Visit(trusted.url, "viola")
    password = invite(trusted.private / "invitations", "viola", role="data-scientist").password
    visit.log_in(password)
    visit.choose("pilot")
    visit.wait()
    _, error = visit.execute(WRITE, kernel=visit.kernel())
    assert not error, error
    for route in ("/files/{}.ipynb?download=1", "/api/contents/{}.ipynb", "/nbconvert/html/{}.ipynb"):
        refused = visit.lab("GET", route.format("marked"))
        assert refused.status_code in {403, 500}, refused.text
        assert "PatientName in" in refused.text
        assert "uixano" not in refused.text
        assert visit.lab("GET", route.format("clean")).status_code == 200, route
    page.goto(trusted.url)
    page.fill("#username_input", "viola")
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_url("**/user/viola/**")
    mine = f"{trusted.url}/user/viola"
    page.goto(f"{mine}/lab/tree/marked.ipynb?reset")
    page.wait_for_selector(".jp-OutputArea-output:has-text('read Alonso Quixano')")
    for route in ("/files/marked.ipynb", "/api/contents/marked.ipynb"):
        answer = page.goto(mine + route)
        assert answer.status == 403
        assert "PatientName in marked.ipynb, cell 1, output" in answer.text()
    trail = trusted.ailab("audit", "export", "--format", "jsonl").stdout
    assert "exit-blocked" in trail
