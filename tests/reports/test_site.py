"""Reports on the machine and the site, run for real; the form; and what the terminal says of them."""

import ast
import json
import tomllib
from dataclasses import fields

import pytest

from ailab_kernel.cli.size import _tell_measured
from ailab_kernel.fleet.measured import TIME_CLASSES
from ailab_kernel.fleet.sizing import QUESTIONS, Answers, answers_of, disk_over_time, size, to_toml
from ailab_kernel.ground.errors import ParameterError
from ailab_kernel.reports import template, verify
from ailab_kernel.reports.sizing.form import SizingForm
from ailab_kernel.reports.sizing.measuring import plan_of, speed
from ailab_kernel.reports.sizing.report import last_measurement, size_report
from tests.cli.running import ailab

ANDREW = Answers(annotate_exams_per_hour=10, train="fine-tune", validate_exams_per_hour=20, infer_exams_per_hour=4,
                 studies_per_day=30)


def test_the_sizing_template_asks_the_questionnaire():
    asked = {one.name: (one.type, one.default) for one in template("sizing").parameters}
    assert {one.name: (type(one.default).__name__, one.default) for one in fields(Answers)}.items() <= asked.items()
    assert set(QUESTIONS) == {one.name for one in fields(Answers)}


def test_answers_travel_through_toml():
    assert answers_of(tomllib.loads(to_toml(ANDREW))) == ANDREW
    assert to_toml(ANDREW).count("# ") == len(fields(Answers))


@pytest.mark.slow
def test_a_sizing_is_a_report_and_the_same_answers_give_the_same_one(workspace, capsys):
    made = size_report(workspace, ANDREW)
    assert (made.metrics["tier"], made.metrics["workloads"]["infer"]) == ("medium", "small")
    assert made.metrics["disk_by_year"] == list(size(ANDREW).disk_by_year)
    assert made.metrics["breaks_at"] > 1000
    assert verify(made, verify_signature=workspace.catalog.verify) == ()
    page = made.html.read_text()
    for words in ("Medium", "480 to 2000 TFLOPS", "fine-tuning existing models: medium", "Disk over time", "Waiting times",
                  "Service breaks at", "what to expect (3.3)", "Gbit/s at least"):
        assert words in page, words
    assert page.count("data:image/png") == 2
    assert workspace.catalog.query("report", name="sizing")[0].body["id"] == made.id
    (workspace.home.parent / "answers.toml").write_text(to_toml(ANDREW))
    assert ailab("size", "--from", workspace.home.parent / "answers.toml", "--report", "--json") == 0
    assert json.loads(capsys.readouterr().out)["report"] == made.id


@pytest.mark.slow
def test_a_small_measurement_fills_the_table_and_leaves_the_lab_alone(workspace, capsys):
    assert ailab("size", "--measure", "--quick", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["workflow"] for row in told["rows"]] == ["Annotate", "Train", "Validate", "Infer"]
    assert all(row["seconds"] > 0 and row["per_hour"] > 0 and row["keeps_to"] in TIME_CLASSES for row in told["rows"])
    assert all(row["extrapolated"] and "multiplied" in row["how"] for row in told["rows"])
    assert told["tflops"] > 0
    assert told["tflops_class"] == "pilot"
    assert "float32" in told["arithmetic"]
    assert told["time_class"] == "not judged", "small phantoms are no chest CT"
    _tell_measured(told, told["page"])
    said = capsys.readouterr().out
    for words in ("TFLOPS class: PILOT", "time class: NOT JUDGED", "Infer 30 studies (serially)", "exams", "<1 Minute"):
        assert words in said, words
    page = (workspace.home / "reports" / told["report"] / "report.html").read_text()
    assert "Phantoms prove plumbing" in page
    assert "Extrapolated" in page
    assert last_measurement(workspace) is None, "a quick one is not used for waiting times"
    assert list(workspace.archive.search_studies()) == [], "phantoms never meet the lab's archive"
    assert {record.kind for record in workspace.catalog.query("report")} == {"report"}
    assert not workspace.catalog.query("task")
    assert not (workspace.home / "reports" / told["report"] / "scratch").exists()


def test_what_cannot_be_measured():
    for studies, size_, epochs in ((1, [30, 64, 64], 1), (3, [30, 64], 1), (3, [30, 64, 8], 1), (3, [30, 64, 64], 0)):
        with pytest.raises(ParameterError, match="are the least"):
            plan_of(studies, size_, epochs)


def test_arithmetic_is_measured_and_says_how():
    found = speed(seconds=0.1)
    assert 0 < found.tflops < 1e4
    assert "float32" in found.how


@pytest.mark.parametrize("words", [["--quick"], ["--measure", "--report"], ["--measure", "--from", "a.toml"]])
def test_measuring_goes_alone(words, capsys):
    assert ailab("size", *words) == 2
    assert "--measure goes alone" in capsys.readouterr().err


def test_the_form_answers_live_and_writes_what_the_terminal_reads(tmp_path):
    form = SizingForm(file=tmp_path / "answers.toml")
    assert list(form.questions) == [one.name for one in fields(Answers)]
    assert "Small" in form.answer.value
    form.questions["train"].value = "multiple"
    assert "Large" in form.answer.value
    assert "training several models at a time: large" in form.answer.value
    form.questions["annotate_exams_per_hour"].value = 12
    form.save.click()
    assert "ailab size --from answers.toml" in form.told.value
    assert answers_of(tomllib.loads((tmp_path / "answers.toml").read_text())) == form.answers
    assert form.answers.annotate_exams_per_hour == 12
    assert "application/vnd.jupyter.widget-view+json" in form._repr_mimebundle_()


def test_the_forms_buttons_say_what_went_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    form = SizingForm(file=tmp_path / "file" / "answers.toml")
    form.save.click()
    assert form.told.value == "<b>Not done:</b> File exists"


@pytest.mark.slow
def test_the_forms_report_is_the_terminals(workspace):
    form = SizingForm(workspace)
    form.questions["infer_exams_per_hour"].value = 0
    form.report.click()
    assert form.told.value.startswith("Report <b>sizing-"), form.told.value
    (report,) = (path for path in (workspace.home / "reports").iterdir() if path.name.startswith("sizing-"))
    assert "Nothing is inferred" in (report / "report.html").read_text()
    assert form.page.value.startswith("<iframe")
    assert "Nothing is inferred" in form.page.value


def test_pictures_of_large_sites():
    from ailab_kernel.reports.sizing import plots

    years = disk_over_time(Answers(infer_exams_per_hour=200, studies_per_day=3000), beyond=1)
    assert plots.disk_over_time(years, retention_years=5).data.startswith(b"\x89PNG")


def test_the_notebooks_hold_calls_only():
    """No definitions in the two templates: logic lives in the rooms."""
    for name in ("measure", "sizing"):
        for cell in template(name).notebook["cells"]:
            if cell["cell_type"] == "code":
                tree = ast.parse("".join(cell["source"]))
                assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
