"""Each role in a real browser with the product's own tiers, and the ten lines in a server of the hub."""

import json
import os
from pathlib import Path

import pytest

from ailab_kernel.fleet.invitations import invite

from .hubs import ROOT
from .hubs import hub as started
from .test_browser import outside

pytestmark = pytest.mark.slow
PAGES = ROOT / "notebooks" / "start"
OFFERED = {
    "admin": ["pilot", "small", "medium"], "data-scientist": ["pilot", "small", "medium"],
    "radiologist": ["pilot", "small"], "auditor": ["pilot"], "student": ["pilot"],
}  # fmt: skip
TEN_LINES = """
import ailab_kernel as ailab
lab     = ailab.open_lab()
studies = lab.archive.search(modality="CT")
vol     = lab.volume(studies[0].series[0])
task    = lab.annotate(studies, label="heart wall", assist="heart-wall@general", reader="simulated")
data    = lab.datasets.freeze("heart-wall", task.accepted(), split=(0.6, 0.2, 0.2))
run     = lab.train("heart-wall@1", base="heart-wall@general", epochs=1)
report  = lab.validate(model=run.model, dataset="heart-wall@1")
report.show(); lab.models.promote(run.model, "champion", evidence=report)
done    = lab.infer(model="heart-wall@champion", studies=studies[:1], store=True)
again   = lab.replay(report)
"""
FILL = """
import ailab_kernel as ailab
from ailab_kernel.datasets.phantoms import make_objects
for seed in range(640_000, 640_010):
    ailab.open_lab().archive.store(make_objects(seed, style="general-hospital", size=(30, 64, 64), spacing_mm=(10.0, 5.6, 5.6)))
"""
DECLARE = """
import ailab_kernel as ailab
print(ailab.open_lab().models.declare("heart-wall", "title = 'two phantoms: no case fails'").ref)
"""
SAID = """
print(sorted({one.modality for study in lab.archive.search(study=studies[0].uid) for one in study.series}),
      lab.models.get("heart-wall@champion").digest == run.model.digest, again.identical, lab.workspace.catalog.roles_enforced)
"""


@pytest.fixture(scope="module")
def product(hub_needs):
    """The hub as it is delivered: its own tiers, with the trusted process; one GPU, simulated."""
    with started(service="on", tiers=(ROOT / "hub_config" / "tiers.yaml").read_text()) as running:
        yield running


@pytest.mark.parametrize("role", OFFERED)
def test_each_role_runs_its_page(product, page, role, tmp_path):
    pictures = Path(os.environ.get("AILAB_PICTURES", tmp_path))
    name = f"the-{role}"
    page.goto(product.url)
    page.fill("#username_input", name)
    page.fill("#password_input", invite(product.private / "invitations", name, role=role).password)
    page.click("#login_submit")
    page.wait_for_url("**/hub/**")
    page.goto(product.url + "/hub/spawn")
    offered = page.locator("input[name=tier]:not([disabled])").evaluate_all("all => all.map(one => one.value)")
    assert offered == OFFERED[role]
    page.check(f"#tier-{OFFERED[role][:2][-1]}")           # small where it is allowed
    page.click("#spawn_form button[type=submit]")
    page.wait_for_url(f"**/user/{name}/lab/**")
    page.wait_for_selector(".jp-Notebook h1:has-text('Welcome')")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    cells = [cell for cell in json.loads((PAGES / f"{role}.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    page.wait_for_selector(f".jp-InputPrompt:has-text('[{len(cells)}]')", timeout=200_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=200_000)
    page.screenshot(path=pictures / f"role-{role}.png")
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts() == []
    assert outside(page.asked) == set()


def test_the_ten_lines_run_through_the_service(product):
    chair = product.person("chair", "admin")               # ten phantoms are too few for the product's own criteria
    chair.choose("pilot")
    chair.wait()
    assert chair.run(DECLARE, kernel=chair.kernel(), seconds=60).strip() == "heart-wall@1"
    visit = product.person("lee", "data-scientist")
    visit.choose("small")
    visit.wait()
    kernel = visit.kernel()
    for part, seconds in ((FILL, 120), (TEN_LINES, 400)):
        printed = visit.run(part, kernel=kernel, seconds=seconds)
        assert "Traceback" not in printed, printed[-3000:]
    assert visit.run(SAID, kernel=kernel, seconds=60).strip() == "['CT', 'SEG', 'SR'] True True True"
