"""The landing pages in people's own servers, with the trusted process behind the hub."""

import json
from pathlib import Path

import pytest

from .hubs import hub as started

pytestmark = pytest.mark.slow
PAGES = Path(__file__).parents[2] / "notebooks" / "start"


@pytest.fixture(scope="module")
def trusted(hub_needs):
    pytest.importorskip("ailab_kernel.service")
    with started(service="on") as running:
        yield running


@pytest.mark.parametrize("role", ["radiologist", "auditor", "student"])
def test_the_landing_page_runs_through_the_service(trusted, role):
    visit = trusted.person(f"the-{role}", role)
    visit.choose("pilot")
    visit.wait()
    kernel = visit.kernel()
    assert visit.run("import os; os.environ['AILAB_SERVICE']", kernel=kernel) == f"'{trusted.url}/services/ailab'"
    for cell in json.loads((PAGES / f"{role}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            printed = visit.run("".join(cell["source"]), kernel=kernel, seconds=100)
            assert "Traceback" not in printed, printed
    assert visit.run("lab.workspace.catalog.roles_enforced", kernel=kernel) == "True"


def test_a_stranger_does_not_enter_the_service(trusted):
    import requests

    for token in ("", "token nonsense", f"token {(trusted.private / 'check.token').read_text()}"):
        answer = requests.get(f"{trusted.url}/services/ailab/dicom-web/studies", headers={"Authorization": token}, timeout=20)
        assert answer.status_code in {401, 403}, token[:10]
