"""Engines agree or torch answers; asked once a machine; nothing phones home."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.inference import qualify
from ailab_kernel.inference.engine import TorchEngine, convert, openvino_engine, torch_engine
from ailab_kernel.inference.qualify import RECORD, compare, cpu_engine, read_verdict
from ailab_kernel.inference.qualify import test_image as image_of  # no test: pytest would collect it
from tests.training.samples import NETWORK, TINY

ROOT = Path(__file__).parents[2]
ROI = TINY.roi


@pytest.fixture(scope="module")
def network() -> TorchEngine:
    from ailab_kernel.training.transfer import start

    return torch_engine(NETWORK, start(TINY, None, seed=3).state_dict(), device="cpu")


@pytest.fixture(scope="module")
def converted(network, tmp_path_factory) -> Path:
    return convert(network.network, ROI, tmp_path_factory.mktemp("ir") / "network")


def test_openvino_answers_like_torch(network, converted):
    window = image_of(ROI, seed=1)[None, None]
    np.testing.assert_allclose(openvino_engine(converted).run(window), network.run(window), atol=1e-3)


def test_an_engine_repeats_itself_bit_for_bit(network, converted):
    window = image_of(ROI, seed=2)[None, None]
    for engine in (network, openvino_engine(converted)):
        assert engine.run(window).tobytes() == engine.run(window).tobytes()
    assert openvino_engine(converted).run(window).tobytes() == openvino_engine(converted).run(window).tobytes()


def test_conversion_leaves_no_draft_and_may_be_done_twice(network, converted):
    convert(network.network, ROI, converted)
    assert sorted(path.name for path in converted.parent.iterdir()) == ["network"]
    assert sorted(path.name for path in converted.iterdir()) == ["model.bin", "model.xml"]


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match="do not fit the network"):
        torch_engine(NETWORK, {"model.0.weight": torch.zeros(1)}, device="cpu")


def test_asked_once_and_recorded(network, tmp_path):
    asked = []

    def load() -> TorchEngine:
        asked.append(1)
        return network

    engine, verdict = cpu_engine("key", load, roi=ROI, cache=tmp_path)
    assert engine.name == verdict.engine == "openvino"
    assert verdict.agreement >= 0.9999
    again, same = cpu_engine("key", load, roi=ROI, cache=tmp_path)
    assert (again.name, same, len(asked)) == ("openvino", verdict, 1)
    cpu_engine("other model", load, roi=ROI, cache=tmp_path)
    assert len(asked) == 2
    record = json.loads(next(tmp_path.glob(f"*/{RECORD}")).read_text())
    assert record["where"]["openvino"]
    assert record["where"]["processor"] == qualify.processor()


def test_a_changed_conversion_is_made_anew(network, tmp_path):
    _, verdict = cpu_engine("key", lambda: network, roi=ROI, cache=tmp_path)
    weights = next(tmp_path.glob("*/model.bin"))
    data = bytearray(weights.read_bytes())
    data[7] ^= 1
    weights.write_bytes(data)
    assert read_verdict(weights.parent) is None
    _, again = cpu_engine("key", lambda: network, roi=ROI, cache=tmp_path)
    assert again == read_verdict(weights.parent)
    assert (again.engine, again.files["model.bin"]) == (verdict.engine, verdict.files["model.bin"])


@dataclass(frozen=True)
class Wrong:
    """An engine whose labels are another network's."""

    inner: TorchEngine
    name: str = "openvino"

    def run(self, windows: np.ndarray) -> np.ndarray:
        return self.inner.run(windows)[:, ::-1].copy()


def test_an_engine_that_disagrees_is_not_used(network, tmp_path, monkeypatch):
    monkeypatch.setattr(qualify, "openvino_engine", lambda place: Wrong(network))
    for _ in range(2):
        engine, verdict = cpu_engine("key", lambda: network, roi=ROI, cache=tmp_path)
        assert engine is network
        assert verdict.engine == "torch"
        assert verdict.clear_differences > 0


def test_a_network_that_does_not_convert_runs_in_torch(network, tmp_path, monkeypatch):
    def refuse(*_args):
        raise ModelError("OpenVINO cannot convert Odd: unknown operation")

    monkeypatch.setattr(qualify, "convert", refuse)
    engine, verdict = cpu_engine("key", lambda: network, roi=ROI, cache=tmp_path)
    assert engine is network
    assert "unknown operation" in verdict.reason


def test_without_a_cache_it_is_asked_anew(network):
    engine, verdict = cpu_engine("key", lambda: network, roi=ROI, cache=None)
    assert engine.name == verdict.engine == "openvino"
    engine.run(image_of(ROI, seed=0)[None, None])


def test_the_test_image_is_the_same_everywhere_and_not_flat():
    image = image_of((16, 24, 24), seed=0)
    assert image.dtype == np.float32
    assert image.std() > 0.1
    np.testing.assert_array_equal(image, image_of((16, 24, 24), seed=0))
    assert not np.array_equal(image, image_of((16, 24, 24), seed=1))


def test_toss_ups_do_not_count_as_clear(network):
    verdict = compare(network, network, roi=ROI, where={}, files={})
    assert (verdict.engine, verdict.agreement, verdict.clear_differences) == ("openvino", 1.0, 0)


SILENT = """
import socket, sys, warnings
def refuse(*a, **k): raise SystemExit("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
warnings.simplefilter("ignore")
from pathlib import Path
from ailab_kernel.inference.engine import convert, openvino_engine
from ailab_kernel.training.transfer import start
from tests.training.samples import TINY
openvino_engine(convert(start(TINY, None, seed=1).eval(), TINY.roi, Path(sys.argv[1]) / "network"))
import threading, multiprocessing
assert not multiprocessing.active_children() and threading.active_count() == 1, threading.enumerate()
print(sorted(m for m in sys.modules if m.startswith("openvino_telemetry.")))
"""


def test_openvino_sends_nothing_and_leaves_nothing_in_the_home_folder(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settings = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run([sys.executable, "-c", SILENT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                          env={**settings, "HOME": str(home), "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"
    assert not list(home.rglob("*telemetry*"))
    assert not (home / "intel").exists()
