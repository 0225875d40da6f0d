"""What an adapter shows of itself: metrics that Prometheus' own parser reads, and a live page in a real Chromium."""

import json
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ailab_kernel.adapter.ledger import Arrival, Outbox, Work, Worklist
from ailab_kernel.adapter.ledger.deliveries import CONFIRMED, DEAD
from tests.adapter.receiving import ROOT, dcmtk, files, image
from tests.adapter.webbing import TOKENS, House, curl, house
from tests.browsers import chromium

PATIENT = "Planted"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr("ailab_kernel.adapter.running.serving._ROUND_S", 3600.0)
    with house(tmp_path) as one:
        yield one


def busy(here: House) -> None:
    """An hour of work: some done, some under way, some failed or held, a destination that is behind."""
    now, worklist, outbox = time.time(), Worklist(here.ledger), Outbox(here.ledger)
    for minute in range(60):
        size = 40 + 37 * minute % 91 if minute % 13 else 0
        here.ledger.keep([Arrival(f"{ROOT}.{minute}.{number}", f"{minute}-{number}", f"{ROOT}.{minute}", f"{ROOT}.{minute}.1",
                                  "1.2", "1.2.1", 524_288, "PACS@10.1.2.3", now - 60 * (59 - minute)) for number in range(size)])
    here.ledger.keep([Arrival("1.2.3", "odd", "", "", "1.2", "1.2.1", 9, "PACS@10.1.2.3", now, "aside", "not understood")])
    reasons = {"failed": "its process died (signal 11); tried 3 times", "held": "never became whole: 118 of 240 instances came"}
    states = ["done"] * 40 + ["running"] + ["queued"] * 6 + ["delivering"] * 2 + ["failed", "held"]
    for number, state in enumerate(states):
        worklist.offer(Work(f"w{number}", f"1.2.840.113619.2.5.1762583153.215519.978957063.{number}", "heart-wall", state,
                            reasons.get(state, ""), now - 200 + number, now - 90, now + 600, {"series": []}))  # fmt: skip
    outbox.put("w0", [(f"1.9.{number}", Path("x")) for number in range(80)], ["pacs", "archive"])
    for number, one in enumerate(outbox.all(destination="pacs")):
        outbox.settle(one, CONFIRMED if number > 2 else DEAD, reason="")


def test_metrics_are_what_prometheus_reads(here):
    busy(here)
    code, text = curl(here, "/metrics", "-D", "/dev/stderr", who="watcher")
    assert code == 200
    found = {sample.name: {} for family in text_string_to_metric_families(text) for sample in family.samples}
    families = {one.name: one.type for one in text_string_to_metric_families(text)}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    assert families["ailab_adapter_instances"] == "counter"
    assert families["ailab_adapter_work"] == "gauge"
    assert found["ailab_adapter_instances_total"][("state", "aside"),] == 1
    assert found["ailab_adapter_work"][("state", "queued"),] == 6
    assert found["ailab_adapter_deliveries"][("destination", "archive"), ("state", "pending")] == 80
    assert found["ailab_adapter_oldest_work_seconds"][()] > 100
    assert found["ailab_adapter_free_bytes"][()] > 0
    assert ROOT not in text


@pytest.mark.parametrize("path", ["/metrics", "/figures"])
def test_who_may_not_watch_sees_nothing(here, path):
    assert curl(here, path)[0] == 401
    assert curl(here, path, who="pacs")[0] == 403
    assert curl(here, "/again/w49", "-X", "POST", who="watcher")[0] == 403


def test_neither_holds_a_patients_data(here, tmp_path):
    dcmtk("storescu", here.adapter.port, paths=files(tmp_path / "in", image(1, AccessionNumber=PATIENT)))
    for path in ("/metrics", "/figures", "/"):
        code, text = curl(here, path, who="desk")
        assert code == 200
        assert PATIENT not in text
        assert "P1" not in text


def test_an_error_in_the_program_says_where_and_not_what(here, monkeypatch, caplog, capfd):
    def broken(_):
        msg = f"could not convert {PATIENT} to a number"
        raise ValueError(msg)

    monkeypatch.setattr("ailab_kernel.adapter.web.app.figures", broken)
    code, text = curl(here, "/figures", who="desk")
    assert (code, json.loads(text)["detail"]) == (500, "an error in the program (ValueError); its log says more")
    logged, end = "", time.monotonic() + 20
    while "in broken" not in logged and time.monotonic() < end:    # it is logged behind the answer
        logged += caplog.text + capfd.readouterr().err
    assert "in broken" in logged
    assert PATIENT not in logged


def test_an_empty_adapter_has_figures_too(here):
    told = json.loads(curl(here, "/figures", who="desk")[1])
    assert (told["oldest"], told["received"], len(told["minutes"])) == (None, {"kept": 0, "conflict": 0, "aside": 0}, 60)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_what_there_is_and_a_button_tries_again(here, tmp_path, scheme):
    busy(here)
    options = {"ignore_https_errors": True, "color_scheme": scheme, "viewport": {"width": 1280, "height": 1000}}
    with chromium(**options) as page:
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(here.url + "/")
        assert page.locator("#board").is_hidden()
        page.get_by_label("Token of a bearer").fill("a token that is nobody's")
        page.get_by_role("button", name="Watch").click()
        page.get_by_text("a token is expected").wait_for()
        page.get_by_label("Token of a bearer").fill(TOKENS["desk"])
        page.get_by_role("button", name="Watch").click()
        page.get_by_text("its process died (signal 11)").wait_for()
        page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
        assert page.locator("#curve rect").count() == 60
        assert page.locator("#failures tbody tr").count() == 2
        page.get_by_role("button", name="Retry heart-wall").first.click()
        page.get_by_text("no longer in the plan").wait_for()       # the plan of this house has no such rule
        with here.ledger.engine.begin() as db:
            db.exec_driver_sql("UPDATE work SET rule = 'ct'")
        page.get_by_role("cell", name="ct").first.wait_for()       # by itself
        page.get_by_role("button", name="Retry ct").first.click()
        page.locator("#failures tbody tr").nth(1).wait_for(state="detached")
        states = {one.id: one.state for one in Worklist(here.ledger).all()}
        assert sorted((states["w49"], states["w50"]))[1] == "queued"
        assert {one.split("/")[2] for one in page.asked if not one.startswith("data:")} == {here.url.split("/")[2]}
        assert not page.faults
        assert not [one for one in said if "Content Security Policy" in one]
        if scheme == "light":
            page.set_viewport_size({"width": 390, "height": 800})
            page.screenshot(path=tmp_path / "narrow.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
    trail = [json.loads(one["detail"]) for one in here.workspace.catalog.audit_trail() if one["event"] == "adapter.again"]
    assert [one["by"] for one in trail] == ["desk"]


@pytest.mark.slow
def test_the_page_says_when_it_is_old(tmp_path, monkeypatch):
    monkeypatch.setattr("ailab_kernel.adapter.running.serving._ROUND_S", 3600.0)
    with chromium(ignore_https_errors=True) as page:
        with house(tmp_path) as here:
            page.goto(here.url + "/")
            page.get_by_label("Token of a bearer").fill(TOKENS["watcher"])
            page.get_by_role("button", name="Watch").click()
            page.get_by_text("Nothing has failed").wait_for()
            assert page.get_by_role("button", name="Retry").count() == 0
        page.get_by_text("what is shown is old").wait_for()
