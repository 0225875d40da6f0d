"""One loop: it learns, repeats itself bit for bit, resumes to the same curve, stops early, and refuses mix-ups."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.training import fine_tune, read_curve
from ailab_kernel.training.loop import best_epoch, rate_at
from ailab_kernel.training.transfer import frozen, rest, start

from .samples import NETWORK, TINY, samples

ROOT = Path(__file__).parents[2]
VICTIM = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from ailab_kernel.training import fine_tune
from tests.training.samples import TINY, samples
fine_tune(TINY, None, train=samples(0, 3), tune=samples(9, 1), folder=Path(sys.argv[1]), seed=4, epochs=8,
          on_epoch=lambda curve: (print(len(curve), flush=True), time.sleep(0.15)))
"""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(folder, **changes):
    words = {"train": samples(0, 3), "tune": samples(9, 1), "folder": folder, "seed": 4, **changes}
    recipe, base = words.pop("recipe", TINY), words.pop("base_state", None)
    return fine_tune(recipe, base, **words)


def test_it_learns_and_repeats_itself(tmp_path):
    seen = []
    first = train(tmp_path / "a", epochs=10, on_epoch=lambda curve: seen.append(len(curve)))
    assert seen == list(range(1, len(first.curve) + 1))
    assert max(row["dice"] for row in first.curve) > 0.7
    assert first.best_epoch == best_epoch(first.curve)
    assert first.resumed_from == 0
    again = train(tmp_path / "b", epochs=10)
    assert again.curve == first.curve == tuple(read_curve(tmp_path / "a"))
    assert all(torch.equal(first.state_dict[name], value) for name, value in again.state_dict.items())
    assert train(tmp_path / "c", epochs=2, seed=5).curve != first.curve[:2]


def test_a_killed_run_resumes_to_the_same_curve(tmp_path):
    """A real process, really killed with -9 in the middle."""
    whole = train(tmp_path / "whole", epochs=8)
    command = [sys.executable, "-W", "ignore", "-c", VICTIM, str(tmp_path / "killed")]
    victim = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    for line in victim.stdout:
        if int(line) >= 3:
            # The victim rests 0.15 s between epochs: this is somewhere in the next one.
            time.sleep(0.17)
            os.kill(victim.pid, signal.SIGKILL)
            break
    assert victim.wait() == -signal.SIGKILL
    victim.stdout.close()
    resumed = train(tmp_path / "killed", epochs=8)
    assert 3 <= resumed.resumed_from < 8
    assert resumed.curve == whole.curve
    assert all(torch.equal(whole.state_dict[name], value) for name, value in resumed.state_dict.items())
    assert not list((tmp_path / "killed").glob("*.pt.*"))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, again = train(tmp_path, epochs=2), train(tmp_path, epochs=2)
    assert (again.resumed_from, again.curve, again.seconds) == (2, first.curve, first.seconds)


@pytest.mark.parametrize(("change", "named"), [
    ({"seed": 5}, "seed, start"), ({"train": samples(1, 3)}, "data, train"), ({"epochs": 3}, "epochs"),
    ({"recipe": replace(TINY, window_hu=(-900.0, 300.0))}, "data, recipe_digest"),
])  # fmt: skip
def test_another_run_in_the_same_folder_is_refused(tmp_path, change, named):
    train(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match=rf"holds another run \({named} differ\)"):
        train(tmp_path, **{"epochs": 1, **change})


def test_a_broken_checkpoint_is_named(tmp_path):
    train(tmp_path, epochs=1)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read .* delete it"):
        train(tmp_path, epochs=1)


def test_no_cases_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="0 training and 1 tuning"):
        train(tmp_path, train=[])


def test_early_stop(tmp_path):
    patient = replace(TINY, fine_tune=replace(TINY.fine_tune, patience=2, rate=1e-9, warmup=1, steps=2))
    assert len(train(tmp_path, recipe=patient, epochs=20).curve) == 3


def test_the_record_names_what_it_was_made_from(tmp_path):
    train(tmp_path, epochs=1)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["train"] == ["case-0", "case-1", "case-2"]
    assert record["recipe_digest"] == TINY.digest
    assert len(record["data"]) == len(record["start"]) == 64


def test_rate_warms_up_and_falls():
    plan = TINY.fine_tune
    rates = [rate_at(plan, step, 4) for step in range(24)]
    assert rates[:3] == pytest.approx([plan.rate / 3, plan.rate * 2 / 3, plan.rate])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < plan.rate / 20


def test_frozen_stages_rest_and_then_thaw(tmp_path):
    assert frozen(TINY.fine_tune, 0) == frozen(TINY.fine_tune, 1) == ("model.0.",)
    assert frozen(TINY.fine_tune, 2) == ()
    base = start(TINY, None, seed=1).state_dict()
    tuned = train(tmp_path, base_state=base, epochs=2).state_dict
    moved = {name for name, value in tuned.items() if not torch.equal(value, base[name])}
    assert moved
    assert not any(name.startswith("model.0.") for name in moved)
    network = start(TINY, base, seed=1)
    rest(network, ())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_base_with_other_labels_keeps_all_but_the_head():
    base = start(TINY, None, seed=1).state_dict()
    more = replace(TINY, network={**NETWORK, "out_channels": 4})
    network = start(more, base, seed=2).state_dict()
    changed = {name for name, value in network.items() if value.shape != base[name].shape}
    assert changed == {"model.2.conv.weight", "model.2.conv.bias"}
    assert all(torch.equal(network[name], base[name]) for name in base if name not in changed)
    again = start(more, base, seed=2).state_dict()
    assert all(torch.equal(network[name], again[name]) for name in network)


def test_a_foreign_base_is_refused():
    with pytest.raises(TrainingError, match="the base fits 0 of"):
        start(TINY, {"other": torch.zeros(2)}, seed=1)


def test_network_start_leaves_the_callers_chance_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    start(TINY, None, seed=1)
    assert torch.equal(torch.rand(1), expected)
