"""Two sealed reports side by side: paired on the same cases, apart on different patients, honest where neither holds."""

import json

import numpy as np
import pytest

from ailab_kernel.ground.errors import ReportError, SealBroken
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.reports.record import compare_reports
from ailab_kernel.reports.report import Report, sealed_files
from tests.cli.running import ailab

from .test_record import cases, frozen

RANDOM = np.random.default_rng(5)


def validated(workspace, data, values, *, name, label="lung", template="validate", phantom=False) -> Report:
    """A sealed report whose cases have these Dice; None failed."""
    folder = workspace.home / "reports" / name
    for number, (case, value) in enumerate(zip(data.split("test"), values, strict=True)):
        scores = {"dice": 0.0 if value is None else float(value), "hd95": 3.0}
        told = {"case": case.id, "scores": {"model": {label: scores}}, "failures": {"model": "gap"} if value is None else {},
                "diagonal_mm": 300.0}  # fmt: skip
        atomic_write(folder / "cases" / f"{number:02}.json", canonical_json({"key": case.id, "result": told}))
    atomic_write(folder / "metrics.json", b"{}")
    atomic_write(folder / "state.json", b'{"state": "done"}')
    manifest = json.dumps({
        "id": name, "template": template, "state": "done", "resolved": {"dataset": data.digest}, "files": sealed_files(folder),
        "notes": {"uses": {"model": {"ref": f"{name}@1", "digest": "0"}, "dataset": {"ref": data.ref, "digest": data.digest}},
                  "phantom": phantom}}).encode()  # fmt: skip
    atomic_write(folder / "manifest.json", manifest)
    atomic_write(folder / "manifest.sig", workspace.catalog.sign(manifest).encode())
    assert sha256(manifest)
    return Report(name, folder)


@pytest.fixture
def datasets(workspace):
    """One dataset, another of other patients, and a third that shares some with the first."""
    catalog = workspace.catalog
    other = [{**one, "id": f"o{one['id']}", "patient": f"o{one['patient']}", "series_uid": f"9.{n}"} for n, one in enumerate(cases(14))]
    return frozen(catalog, "here", *cases(24)), frozen(catalog, "there", *other), frozen(catalog, "mixed", *cases(5), *other[:9])


def test_one_model_on_two_datasets_is_compared_apart(workspace, datasets):
    here, there = RANDOM.normal(0.90, 0.02, 24), RANDOM.normal(0.80, 0.03, 14)
    found = compare_reports(workspace.catalog, validated(workspace, datasets[0], here, name="a"),
                            validated(workspace, datasets[1], there, name="b"))  # fmt: skip
    row, = found.rows
    assert found.names == ("a@1 on here@1", "b@1 on there@1")
    assert row.difference == pytest.approx(there.mean() - here.mean())
    assert row.low < row.difference < row.high < 0
    assert row.p < 1e-6
    assert row.patients == (24, 14)
    assert "two independent samples" in found.how
    assert "a little too narrow" in found.how
    assert "&lt; 0.0001" in found._repr_html_()


def test_two_models_on_one_dataset_are_paired(workspace, datasets):
    before = RANDOM.normal(0.80, 0.08, 24)
    found = compare_reports(workspace.catalog, validated(workspace, datasets[0], before, name="a"),
                            validated(workspace, datasets[0], before + 0.01 + RANDOM.normal(0, 0.001, 24), name="b"))  # fmt: skip
    row, = found.rows
    assert found.how == "paired on the same cases."
    assert 0.009 < row.low < row.difference < row.high < 0.011, "much narrower than the spread of the cases"
    assert row.p < 1e-4


def test_the_order_turns_the_sign(workspace, datasets):
    one = validated(workspace, datasets[0], RANDOM.normal(0.9, 0.02, 24), name="a")
    other = validated(workspace, datasets[1], RANDOM.normal(0.8, 0.02, 14), name="b")
    there, back = (compare_reports(workspace.catalog, *pair).rows[0] for pair in ((one, other), (other, one)))
    assert there.difference == pytest.approx(-back.difference)
    assert there.p == pytest.approx(back.p)


def test_patients_in_both_leave_no_interval(workspace, datasets):
    one = validated(workspace, datasets[0], RANDOM.normal(0.9, 0.02, 24), name="a")
    other = validated(workspace, datasets[2], RANDOM.normal(0.8, 0.02, 14), name="b")
    found = compare_reports(workspace.catalog, one, other)
    assert found.how.startswith("5 patients stand in both")
    assert found.rows[0].low is found.rows[0].p is None


def test_few_patients_have_no_interval_and_a_failed_case_counts(workspace, datasets):
    small = frozen(workspace.catalog, "small", *[{**one, "id": f"s{one['id']}", "patient": f"s{one['patient']}"} for one in cases(4)])
    found = compare_reports(workspace.catalog, validated(workspace, datasets[0], [0.9 + n / 1000 for n in range(24)], name="a"),
                            validated(workspace, small, [0.8, 0.8, 0.8, None], name="b", phantom=True))  # fmt: skip
    assert found.rows[0].means[1] == pytest.approx(0.6)
    assert found.rows[0].low is None
    assert "Fewer than 10 patients" in found.how
    assert "not clinical value" in found._repr_html_()


def test_what_cannot_be_compared_is_refused(workspace, datasets):
    values = RANDOM.normal(0.9, 0.02, 24)
    good = validated(workspace, datasets[0], values, name="a")
    with pytest.raises(ReportError, match="share no label"):
        compare_reports(workspace.catalog, good, validated(workspace, datasets[0], values, name="b", label="liver"))
    with pytest.raises(ReportError, match="no validation"):
        compare_reports(workspace.catalog, good, validated(workspace, datasets[0], values, name="c", template="train"))
    with pytest.raises(ReportError, match="no metric"):
        compare_reports(workspace.catalog, good, good, metric="beauty")
    edited = validated(workspace, datasets[0], values, name="d")
    case = edited.folder / "cases" / "00.json"
    case.write_bytes(case.read_bytes().replace(b"0.", b"1.", 1))
    with pytest.raises(SealBroken, match=r"cases/00\.json changed"):
        compare_reports(workspace.catalog, good, edited)


def test_the_terminal_shows_the_same(workspace, datasets, monkeypatch, capsys):
    monkeypatch.setenv("AILAB_HOME", str(workspace.home))
    here, there = RANDOM.normal(0.90, 0.02, 24), RANDOM.normal(0.80, 0.03, 24)
    found = compare_reports(workspace.catalog, validated(workspace, datasets[0], here, name="a"),
                            validated(workspace, datasets[0], there, name="b", phantom=True))  # fmt: skip
    assert ailab("report", "compare", "a", "b", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["difference"] == pytest.approx(found.rows[0].difference)
    assert ailab("report", "compare", "a", "b") == 0
    said = capsys.readouterr().out
    assert "a@1 on here@1" in said
    assert "paired on the same cases" in said
    assert "not clinical value" in said
    assert ailab("report", "compare", "a", "b", "--metric", "beauty") == 1
    assert "Traceback" not in capsys.readouterr().err
