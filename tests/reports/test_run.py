"""Running a report: done and reused, failed with the reason, killed and resumed, never two at once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ailab_kernel.ground.errors import NotFound, ParameterError, ReportError, ReportFailed
from ailab_kernel.ground.ids import sha256
from ailab_kernel.reports import get_report, list_reports, run_report, this_run, verify, write_index
from ailab_kernel.reports.report import KILLED

from .work import NOTEBOOKS, ROOT


def visits(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("visit-*"))


def test_done_then_reused(run, tmp_path, capsys):
    first = run("plain", {"who": "x<b>", "number": "4"}, resolved={"model": "00"})
    assert (first.state, first.reason) == ("done", "")
    assert first.metrics == {"number": 8, "share": 0.5}
    assert first.manifest["notes"]["uses"]["model"] == {"ref": "heart-wall@1", "digest": "0" * 64}
    assert first.manifest["notes"]["peak_memory_mb"] > 10
    assert first.manifest["parameters"]["number"] == 4
    page = first.html.read_text()
    assert "hello x&lt;b&gt;" in page
    assert "this_run()" not in page, "code stays out of the page"
    started = time.monotonic()
    assert run("plain", {"number": 4, "who": "x<b>"}, resolved={"model": "00"}) == first
    assert time.monotonic() - started < 0.5
    assert "was made before" in capsys.readouterr().err
    assert run("plain", {"number": 4, "who": "x<b>"}, resolved={"model": "01"}).id != first.id
    assert {one.id for one in list_reports(tmp_path)} >= {first.id}
    assert get_report(tmp_path, first.id).state == "done"


def test_wrong_parameters_run_nothing(run, tmp_path):
    with pytest.raises(ParameterError):
        run("plain", {"number": "many"})
    assert list_reports(tmp_path) == ()


def test_our_errors_speak(run, tmp_path):
    with pytest.raises(ReportFailed, match=r"series 1\.2\.3 has a gap; ask for the missing slices"):
        run("fails", {"how": "ours"})
    (failed,) = list_reports(tmp_path)
    assert failed.state == "failed"
    assert "has a gap" in failed.reason
    assert not (failed.folder / "manifest.json").exists()
    with pytest.raises(NotFound, match="never finished"):
        failed.evidence()


def test_their_errors_are_only_named_for_they_may_hold_a_patients_name(run, tmp_path):
    with pytest.raises(ReportFailed) as caught:
        run("fails", {"how": "theirs"})
    (failed,) = list_reports(tmp_path)
    told = str(caught.value) + (failed.folder / "state.json").read_text() + failed.html.read_text() + failed.reason
    told += write_index(tmp_path, table=[], title="T").read_text() + (failed.folder / "progress.log").read_text()
    book = json.loads((failed.folder / "notebook.ipynb").read_text())
    told += json.dumps([cell.get("outputs") for cell in book["cells"]]) + json.dumps(book["metadata"])
    assert "ValueError" in told
    assert "Mustermann" not in told
    assert "Erika" not in told


def test_a_kernel_that_is_killed_ends_at_once_and_goes_on_with_the_rest(run, tmp_path):
    started = time.monotonic()
    with pytest.raises(ReportFailed, match="its kernel was killed"):
        run("cases", {"folder": str(tmp_path), "fatal": 3, "pause": 0.2})
    assert time.monotonic() - started < 20
    assert list_reports(tmp_path)[0].state == "failed"
    again = run("cases", {"folder": str(tmp_path), "fatal": 3, "pause": 0.2})
    assert again.metrics == {"failed": 1, "values": [0, 1, 4, 9, None, 25]}
    counted = visits(tmp_path)
    assert [counted.count(number) for number in range(6)] == [1, 1, 1, 2, 1, 1]


def test_cases_on_two_workers_one_of_them_killed_have_the_same_digests(run, environment, tmp_path):
    (tmp_path / "calm").mkdir()
    calm = run("cases", {"folder": str(tmp_path / "calm")})
    environment["AILAB_COMPUTE"] = "local:2"
    (tmp_path / "killed").mkdir()
    killed = run("cases", {"folder": str(tmp_path / "killed"), "fatal": 3})
    assert (tmp_path / "killed" / "died").exists(), "a worker was killed in the middle"
    assert killed.metrics == calm.metrics
    digests = [{name: digest for name, digest in one.manifest["files"].items() if name.startswith("cases/")}
               for one in (calm, killed)]  # fmt: skip
    assert digests[0] == digests[1] != {}


CHILD = """
import sys
from pathlib import Path
from ailab_kernel.reports import run_report
home, folder = sys.argv[1:]
run_report(Path(home), "cases", {"folder": folder, "pause": 0.7}, resolved={}, seal=lambda _: "sealed",
           environment={"AILAB_HOME": home, "PYTHONPATH": "."}, templates=Path("tests/reports/notebooks"))
"""


def wait_for(condition, seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


@pytest.fixture
def child(tmp_path, environment):
    """A process that runs a slow report, stopped in the middle of its second case."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(tmp_path)], cwd=ROOT,
                               env={**os.environ, **environment}, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_for(lambda: len(visits(tmp_path)) >= 2, 60, "the report did not start")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_killed_with_its_parent_the_kernel_goes_too_and_the_next_run_ends_the_same(child, run, tmp_path, capsys):
    kernels = psutil.Process(child.pid).children(recursive=True)
    assert kernels
    (running,) = list_reports(tmp_path)
    assert running.state == "running"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    wait_for(lambda: not any(alive(one) for one in kernels), 10, f"left over: {kernels}")
    (killed,) = list_reports(tmp_path)
    assert (killed.state, killed.reason) == ("failed", KILLED)
    before = visits(tmp_path)
    again = run("cases", {"folder": str(tmp_path), "pause": 0.7})
    assert again.id == killed.id
    assert "killed before its end" in capsys.readouterr().err
    assert again.metrics == {"failed": 1, "values": [0, 1, 4, 9, None, 25]}
    assert visits(tmp_path).count(0) == before.count(0) == 1, "a finished case is not visited again"
    assert not verify(again, verify_signature=lambda *_: True)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_two_processes_do_not_run_the_same_report(child, run, tmp_path):
    with pytest.raises(ReportError, match="being run by another process"):
        run("cases", {"folder": str(tmp_path), "pause": 0.7})
    assert child.wait(60) == 0
    assert run("cases", {"folder": str(tmp_path), "pause": 0.7}).state == "done"
    assert visits(tmp_path) == list(range(6)), "the second process only asked"


def test_asking_for_the_state_never_refuses_a_run(run, tmp_path):
    """Somebody lists the reports all the time while one is made again and again."""
    report, over = run("plain"), threading.Event()
    (report.folder / "state.json").write_text('{"state": "running"}')

    def ask() -> None:
        while not over.is_set():
            _ = [one.state for one in list_reports(tmp_path)]

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        assert run("plain").state == "done"
    finally:
        over.set()
        asker.join()


def test_verify_names_each_altered_file(made):
    assert verify(made, verify_signature=lambda data, seal: seal == "sealed") == ()
    assert verify(made, verify_signature=lambda *_: False) == ("manifest.json does not bear this lab's seal",)
    cases = sorted((made.folder / "cases").glob("*.json"))
    assert len(cases) == 5
    for path in (made.folder / "notebook.ipynb", made.html, made.folder / "metrics.json", cases[0]):
        kept, name = path.read_bytes(), str(path.relative_to(made.folder))
        path.write_bytes(kept + b" ")
        assert verify(made, verify_signature=lambda *_: True) == (f"{name} changed",)
        path.unlink()
        assert verify(made, verify_signature=lambda *_: True) == (f"{name} is missing",)
        path.write_bytes(kept)
    added = made.folder / "cases" / "more.json"
    added.write_text("{}")
    assert verify(made, verify_signature=lambda *_: True) == ("cases/more.json was added",)
    added.unlink()


def test_an_altered_report_is_made_anew_and_trusts_none_of_its_cases(run, tmp_path):
    report = run("cases", {"folder": str(tmp_path)})
    case = next(path for path in (report.folder / "cases").glob("*.json") if json.loads(path.read_bytes())["key"] == "5")
    case.write_text('{"key": "5", "result": {"value": 26}}')
    again = run("cases", {"folder": str(tmp_path)})
    assert again.metrics["values"][5] == 25
    assert visits(tmp_path).count(0) == 2


def test_unknown_report_hints(run, tmp_path):
    report = run("plain")
    with pytest.raises(NotFound, match=report.id):
        get_report(tmp_path, report.id[:-1])


def test_the_index_lists_states_figures_and_links(run, tmp_path):
    report = run("plain")
    with pytest.raises(ReportFailed):
        run("fails")
    table = [{"model": "<i>heart</i>", "report": report.id}, {"model": "lungs", "report": "gone-12345678"}]
    page = write_index(tmp_path, table=table, title="Lab <1>", note="n & m").read_text()
    for wanted in (f'href="{report.id}/report.html"', "&lt;i&gt;heart", "Lab &lt;1&gt;", "n &amp; m", "number 6",
                   'class="state failed"', 'class="state done"', "2 reports", "<td>gone-12345678</td>", "Fails"):  # fmt: skip
        assert wanted in page
    assert "<script" not in page


def test_no_reports_no_lie(tmp_path):
    assert "None yet." in write_index(tmp_path, table=[], title="T").read_text()


def test_by_hand_a_notebook_gets_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.delenv("AILAB_RUN_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    by_hand = this_run()
    by_hand.metrics({"a": 1})
    by_hand.metrics({"b": 2})
    assert json.loads((by_hand.folder / "metrics.json").read_text()) == {"a": 1, "b": 2}
    assert by_hand.folder.parent == tmp_path


def test_a_report_without_the_labs_seal_is_not_taken_for_done(run, tmp_path, environment, capsys):
    report = run("plain")
    (report.folder / "metrics.json").write_text("{}")
    told = json.loads((report.folder / "manifest.json").read_text())
    told["files"]["metrics.json"] = sha256(b"{}")
    (report.folder / "manifest.json").write_text(json.dumps(told))
    again = run_report(tmp_path, "plain", {}, resolved={}, seal=lambda _: "sealed", environment=environment,
                       templates=NOTEBOOKS, verify_signature=lambda *_: False)  # fmt: skip
    assert again.metrics == {"number": 6, "share": 0.5}
    assert "does not bear this lab's seal; it is made anew" in capsys.readouterr().err


def test_the_kernel_is_this_interpreter_and_says_nothing(run, tmp_path, monkeypatch, capfd):
    spec = tmp_path / "data" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    assert run("plain").state == "done"
    assert "IPKernelApp" not in capfd.readouterr().err


def test_a_kernel_that_does_not_start_is_a_failure_with_its_reason(run, monkeypatch):
    monkeypatch.setattr("ailab_kernel.reports.kernel._COMMAND", ("/bin/false",))
    with pytest.raises(ReportFailed, match="its kernel did not start"):
        run("plain")


def test_figures_are_plain_json(monkeypatch, tmp_path):
    monkeypatch.setenv("AILAB_RUN_DIR", str(tmp_path))
    this_run().metrics({"a": np.float32(0.5), "b": [float("nan"), float("inf")], "c": np.array([1, 2])})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 0.5, "b": [None, None], "c": [1, 2]}
