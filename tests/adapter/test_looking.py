"""A look at what came takes no longer for somebody else's slowness, and reads only what is new."""

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from pydicom import dcmread

from ailab_kernel.adapter.ledger import Outbox, Work, Worklist
from ailab_kernel.adapter.looking import Caution, Dispatcher, Listed
from ailab_kernel.adapter.looking.asking import Asking
from ailab_kernel.adapter.place import inbox_of
from ailab_kernel.adapter.rules import Destination, facts, read_plan
from ailab_kernel.adapter.rules.facts import values_of
from ailab_kernel.adapter.running import Adapter
from tests.adapter.besieging import bodies
from tests.adapter.receiving import CT, ROOT, dcmtk, files, image
from tests.adapter.test_running import arrive, lab
from tests.services import http_server, need_service

__all__ = ["lab"]
SLEEP_S, SOON_S = 6.0, 3.0
TWO = """
listen = "127.0.0.1:0"
[[caller]]
ae = "*"
[[rule]]
name = "careful"
run = "infer"
when = {Modality = "CT"}
complete = {quiet_s = 0}
%s
[[rule]]
name = "plain"
run = "infer"
when = {Modality = "US"}
complete = {quiet_s = 0}
"""
CONTEXT = """
[context]
fhir = "%s"
patient_system = "urn:oid:1.2.3"
permitted_by = "radiology board, 30 November 2026"
"""


class Slow(BaseHTTPRequestHandler):
    """Lets everybody wait."""

    def do_GET(self):
        time.sleep(SLEEP_S)
        self.send_error(503)

    def log_message(self, *_):
        pass


@pytest.fixture
def slow():
    with http_server(Slow) as url:
        yield url


def timed(dispatcher) -> float:
    start = time.monotonic()
    dispatcher.look(time.time() + 31)
    return time.monotonic() - start


def states(inbox) -> dict[str, str]:
    return {one.rule: one.state for one in Worklist(inbox.ledger).all()}


def test_a_fhir_server_that_sleeps_keeps_no_other_study_waiting(lab, tmp_path, slow):
    path = tmp_path / "two.toml"
    path.write_text(TWO % 'hold_when = {procedure = ["*lobectomy*"]}' + CONTEXT % slow)
    plan, queued = read_plan(path), []
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1), image(1, study=2, Modality="US"))
        caution = Caution(inbox, plan, queued.append, lab.catalog.audit, asking=Asking("nobody answers", patience_s=1.0))
        dispatcher = Dispatcher(inbox, plan, caution)
        assert timed(dispatcher) < SOON_S
        assert [one.rule for one in queued] == ["plain"]
        assert [uid for uid, _ in Worklist(inbox.ledger).unlooked()] == [f"{ROOT}.1"]         # a kill now loses nothing
        time.sleep(1.2)
        assert timed(dispatcher) < SOON_S
        held, = (one for one in Worklist(inbox.ledger).all() if one.rule == "careful")
        assert (held.state, held.reason) == ("held", "nobody answers; ailab adapter again, once somebody has looked")
        assert Worklist(inbox.ledger).unlooked() == []
        assert [one.rule for one in queued] == ["plain"]


def test_an_archive_that_sleeps_keeps_no_other_study_waiting(lab, tmp_path, slow):
    path = tmp_path / "two.toml"
    path.write_text(TWO.replace("quiet_s = 0}", 'quiet_s = 0, count = "archive"}', 1) % "")
    plan, queued = read_plan(path), []
    listed = Listed((Destination("pacs", f"dicomweb+{slow}/dicom-web"),))
    with inbox_of(lab) as inbox:
        arrive(inbox, tmp_path, image(1), image(1, study=2, Modality="US"))
        dispatcher = Dispatcher(inbox, plan, queued.append, listed)
        assert timed(dispatcher) < SOON_S
        assert timed(dispatcher) < SOON_S
        assert states(inbox) == {"plain": "queued"}


def test_a_destination_that_sleeps_keeps_no_study_and_no_other_destination_waiting(lab, tmp_path, slow):
    need_service("storescu", package="dcmtk")
    path, far = tmp_path / "two.toml", f"folder:{tmp_path / 'far'}"
    path.write_text(TWO % "" + "".join(f'[[destination]]\nname = "{name}"\nurl = "{url}"\n' for name, url in (
        ("slow", f"dicomweb+{slow}/dicom-web"), ("near", far))))
    result, = files(tmp_path / "out", image(90))
    with inbox_of(lab) as inbox:
        Worklist(inbox.ledger).offer(Work("w", "1", "plain", "delivering", "", 0, 0, 9e9))
        Outbox(inbox.ledger).put("w", [(f"{ROOT}.1.1.90", result)], ["slow"])
    with Adapter(lab, path, workers=0) as adapter:
        time.sleep(1.5)                        # it asks the slow one now
        start = time.monotonic()
        Outbox(adapter.inbox.ledger).put("w", [(f"{ROOT}.1.1.90", result)], ["near"])
        dcmtk("storescu", adapter.port, paths=files(tmp_path / "in", image(1, study=5, Modality="US")))
        while states(adapter.inbox).get("plain") != "queued" and len(Worklist(adapter.inbox.ledger).all()) < 2:
            assert time.monotonic() - start < SLEEP_S - 1.5
            time.sleep(0.05)
        while Outbox(adapter.inbox.ledger).all(destination="near")[0].state != "confirmed":
            assert time.monotonic() - start < SLEEP_S - 1.5
            time.sleep(0.05)
        assert Outbox(adapter.inbox.ledger).all(destination="slow")[0].tries == 0


def test_headers_are_read_once_however_often_a_study_is_looked_at(lab, tmp_path, monkeypatch):
    read, asked = [], []
    values, arrivals = facts.values_of, None
    monkeypatch.setattr(facts, "values_of", lambda path: read.append(path) or values(path))
    plan = read_plan(tmp_path / "adapter.toml")
    with inbox_of(lab) as inbox:
        arrivals = inbox.ledger.arrivals
        monkeypatch.setattr(inbox.ledger, "arrivals", lambda **match: asked.append(match) or arrivals(**match))
        arrive(inbox, tmp_path, image(1), image(2, SeriesInstanceUID=f"{ROOT}.1.2"))
        dispatcher = Dispatcher(inbox, plan, lambda _: None)
        for _ in range(5):
            assert dispatcher.look(time.time()) == []
        assert (len(read), len(asked)) == (2, 1)         # of each series one, at the first look
        arrive(inbox, tmp_path, image(3), image(4, SeriesInstanceUID=f"{ROOT}.1.3"))
        for _ in range(5):
            dispatcher.look(time.time())
        assert (len(read), len(asked)) == (3, 2)         # of the new series only
        (work,) = dispatcher.look(time.time() + 31)
        assert work.told["instances"] == 2               # of the largest series, with what came later
        assert dispatcher.look(time.time() + 32) == []


def test_rules_see_in_every_syntax_what_pydicom_sees(tmp_path):
    need_service("dcmconv", "dcmcjpls", "dcmcrle", package="dcmtk")
    bodies(tmp_path)
    for path in sorted(tmp_path.glob("coded-*.dcm")):
        seen, whole = values_of(path), dcmread(path)
        short = {one.keyword: str(one.value) for one in whole if one.keyword and one.VR not in ("OW", "OB", "SQ")}
        assert {keyword: values[0] for keyword, values in seen.items()} == short
        assert seen["SOPClassUID"] == (CT,)


def test_a_name_in_another_script_is_read_as_it_was_written(tmp_path):
    one = image(1, SpecificCharacterSet=["", "ISO 2022 IR 87"], StudyDescription="胸部", ImageType=["ORIGINAL", "PRIMARY"])
    path: Path = files(tmp_path, one)[0]
    seen = values_of(path)
    assert seen["StudyDescription"] == ("胸部",)
    assert seen["ImageType"] == ("ORIGINAL", "PRIMARY")
