"""A report run again: identical, or what differs and why."""

import json
from importlib.metadata import version

import pytest

from ailab_kernel.ground.errors import ReportError
from ailab_kernel.reports import Report, list_reports, replay
from ailab_kernel.reports.replaying import Replay
from ailab_kernel.reports.replaying.comparing import compare

from .work import NOTEBOOKS


def again(report, environment, verify_inputs=lambda _: None):
    return replay(report, environment=environment, verify_inputs=verify_inputs, templates=NOTEBOOKS)


def test_identical_without_the_kept_cases(run, environment, tmp_path):
    report = run("cases", {"folder": str(tmp_path)}, resolved={"model": "11"})
    asked = []
    found = again(report, environment, asked.append)
    assert (found.identical, found.differences) == (True, ())
    assert asked == [{"model": "11"}]
    assert found.report.metrics == report.metrics
    assert len(list(tmp_path.glob("visit-0-*"))) == 2, "a replay does the work again"
    assert "identical" in found._repr_html_()
    assert [one.id for one in list_reports(tmp_path)] == [report.id], "a replay is its original's, not a report beside it"
    assert again(report, environment).report.folder.name == "2"


def test_a_difference_is_named_with_its_cause(run, environment):
    report = run("plain", {"number": 4})
    told = json.loads((report.folder / "metrics.json").read_text())
    (report.folder / "metrics.json").write_text(json.dumps({**told, "number": 9, "more": 1}))
    manifest = json.loads((report.folder / "manifest.json").read_text())
    manifest["versions"]["torch"], manifest["code"], manifest["template_digest"] = "1.0", "0", "0"
    (report.folder / "manifest.json").write_text(json.dumps(manifest))
    found = again(Report(report.id, report.folder), environment)
    assert not found.identical
    assert found.differences == ("metrics.more: 1 before, None now", "metrics.number: 9 before, 8 now (-1)")
    template, torch, code = found.causes
    assert template == "likely cause: the template changed"
    assert torch == f"likely cause: torch: 1.0 then, {version('torch')} now"
    assert code.startswith("likely cause: AI-LAB's code: 0 then, ")
    assert found.lines()[0] == f"{report.id}: differs"


def test_a_difference_without_a_change_is_the_computations(run, environment):
    report = run("plain", {"number": 4})
    told = json.loads((report.folder / "metrics.json").read_text())
    (report.folder / "metrics.json").write_text(json.dumps({**told, "number": 9}))
    found = again(Report(report.id, report.folder), environment)
    assert found.causes == ("likely cause: the computation itself, which gives other last digits from run to run: "
                            "nothing of what is recorded differs",)


def test_what_changed_without_an_effect_is_said_as_such(run, environment):
    report = run("plain", {"number": 4})
    manifest = json.loads((report.folder / "manifest.json").read_text())
    manifest["versions"]["torch"] = "1.0"
    (report.folder / "manifest.json").write_text(json.dumps(manifest))
    found = again(Report(report.id, report.folder), environment)
    assert (found.identical, found.causes) == (True, ())
    assert found.notes == (f"without an effect: torch: 1.0 then, {version('torch')} now",)
    assert Replay.of(found.told()) == found


def test_changed_inputs_stop_a_replay_before_anything_runs(run, environment):
    report = run("plain")

    def refuse(_):
        raise ReportError("the model changed")

    with pytest.raises(ReportError, match="the model changed"):
        again(report, environment, refuse)
    assert not (report.folder / "replays").exists()


def test_only_a_finished_report_can_be_replayed(tmp_path, environment):
    with pytest.raises(ReportError, match="is failed: only a finished report"):
        again(Report("x-1", tmp_path), environment)


@pytest.mark.parametrize(("before", "after", "lines"), [
    ({"a": {"b": 1.5}}, {"a": {"b": 1.5}}, []), ({"a": {"b": 1.5}}, {"a": {"b": 1.6}}, ["a.b: 1.5 before, 1.6 now (+0.1)"]),
    ({"a": float("nan")}, {"a": float("nan")}, []), ({"a": [1, 2]}, {"a": [2, 1]}, ["a: [1, 2] before, [2, 1] now"]),
    ({}, {"a": 1}, ["a: None before, 1 now"]), ({"a": {"b": 1}}, {"a": 1}, ["a: {'b': 1} before, 1 now"]),
])  # fmt: skip
def test_compare(before, after, lines):
    assert compare(before, after) == lines


def test_what_differs_is_escaped(made):
    assert "<b>x" not in Replay(made.id, False, ("metrics.a: <b>x before",))._repr_html_()
