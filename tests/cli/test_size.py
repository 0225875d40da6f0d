"""``ailab size``: asked or read, for a person or as JSON, wrong answers in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .running import ailab

ANDREW = """
annotate_exams_per_hour = 10
train = "fine-tune"
validate_exams_per_hour = 20
infer_exams_per_hour = 4
studies_per_day = 30
"""


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.toml"
    path.write_text(ANDREW)
    return path


def test_the_sample_scenario_as_json(answers, capsys):
    assert ailab("size", "--from", answers, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tier"], told["workloads"]["train"], told["tflops"]) == ("medium", "medium", [480, 2000])
    assert told["disk_gb"]["annotated"] > 0
    assert told["answers"]["train"] == "fine-tune"
    assert any("Fine-tune 1 model with 100 annotated chest CT studies: Hours on Pilot, <1 Hour on Small" in reason
               for reason in told["reasons"])  # fmt: skip


def test_the_sample_scenario_for_a_person(answers, capsys):
    assert ailab("size", "--from", answers) == 0
    told = capsys.readouterr().out
    for words in ("MEDIUM", "480 to 2000 TFLOPS", "fine-tuning existing models: medium", "<1 Hour on Small", "disk"):
        assert words in told


def test_the_questions_are_asked_and_return_takes_the_default():
    done = subprocess.run([Path(sys.executable).with_name("ailab"), "size", "--json"], input="5\nnew\n" + "\n" * 12,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout)["tier"] == "medium"
    assert "Exams annotated an hour" in done.stderr


@pytest.mark.parametrize(("text", "says"), [
    ("train = 'often'", "one of none"), ("beds = 3", "no question is called beds"), ("train =", "no TOML"),
])  # fmt: skip
def test_wrong_answers_are_one_line(tmp_path, capsys, text, says):
    (tmp_path / "a.toml").write_text(text)
    assert ailab("size", "--from", tmp_path / "a.toml") == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert ailab("size", "--from", tmp_path / "absent.toml") == 2
