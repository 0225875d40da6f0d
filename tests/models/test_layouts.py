"""Models from elsewhere that are taken: each layout's own network answers here as it does there, behind walls or not."""

import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.inference import Predictor
from ailab_kernel.models import Models, build_network, read_bundle
from ailab_kernel.models.trust.worker import Bounds, Worker, lacking
from ailab_kernel.recipes import find
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.volume import Volume

from .test_bundle import NETWORK, make_bundle
from .test_hostile import Place, huggingface, protobuf

walled = pytest.mark.skipif(bool(lacking()), reason="no walls on this machine: bubblewrap is missing")
LUNGS = find("lungs")
SMALL = {**NETWORK, "out_channels": LUNGS.channels}


class Tiny(nn.Module):
    """A network as a program: two convolutions; its answer depends on what lies around a voxel."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.inner = nn.Conv3d(1, 4, 3, padding=1)
        self.last = nn.Conv3d(4, LUNGS.channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.inner(x)))


def scripted(path, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")        # torch asks for other ways to export
        torch.jit.script(module).save(str(path))
    return path


def volume():
    """Noise between air and tissue, anisotropic."""
    spacing = np.diag([*LUNGS.spacing_mm[::-1], 1.0])
    values = np.random.default_rng(2).integers(-1000, 200, (24, 40, 36)).astype(np.int16)
    return Volume(values, Grid(values.shape, spacing[:, [2, 1, 0, 3]]), facts={"Modality": "CT"})


def onnx_file(path, weights):
    """A 1 x 1 x 1 convolution as ONNX, by hand: (out, in, 1, 1, 1)."""
    def shape(*sizes):
        return b"".join(protobuf((1, protobuf((1, size)))) for size in sizes)

    def value(name, *sizes):
        return protobuf((1, name), (2, protobuf((1, protobuf((1, 1), (2, shape(*sizes)))))))

    sizes = (*((1, size) for size in weights.shape), (2, 1), (8, b"w"), (9, weights.astype("<f4").tobytes()))
    node = protobuf((1, b"x"), (1, b"w"), (2, b"y"), (4, b"Conv"))
    graph = protobuf((1, node), (2, b"g"), (5, protobuf(*sizes)), (11, value(b"x", 1, 1, 96, 96, 96)),
                     (12, value(b"y", 1, weights.shape[0], 96, 96, 96)))  # fmt: skip
    path.write_bytes(protobuf((1, 8), (7, graph), (8, protobuf((2, 13)))))
    return path


def test_hugging_faces_layout_is_taken(tmp_path, workspace):
    weights = read_bundle(make_bundle(tmp_path / "in")).file("models/model.safetensors")
    folder = huggingface(Place(tmp_path, tmp_path / "canary"), {
        "name": "tiny", "network_def": NETWORK, "license": "MIT", "intended_use": "tests"}, weights)  # fmt: skip
    found = Models(workspace.catalog).import_model(folder, recipe="lungs")
    assert (found.layout, found.bundle.ref, found.bundle.recipe) == ("huggingface", "tiny@1", "lungs")
    assert "preprocessing and labels: config.json does not say them; the recipe of this lab decides" in found.unchecked
    build_network(found.bundle.network).load_state_dict(found.bundle.weights())
    assert Models(workspace.catalog).imports(found.bundle)[0]["source"] == found.source


@pytest.mark.slow
@walled
def test_torchscript_answers_behind_walls_as_it_does_here(tmp_path, workspace):
    found = Models(workspace.catalog).import_model(scripted(tmp_path / "tiny.ts", Tiny()), recipe="lungs")
    assert (found.layout, found.bundle.network["out_channels"]) == ("torchscript", LUNGS.channels)
    image = np.random.default_rng(3).normal(size=(1, 1, *LUNGS.roi)).astype(np.float32)
    with Worker("torchscript", (tmp_path / "tiny.ts").read_bytes()) as worker, torch.no_grad():
        np.testing.assert_allclose(worker.run(image), Tiny()(torch.from_numpy(image)).numpy(), atol=1e-4)
    answer, _ = Predictor(found.bundle).scores(volume())
    assert answer.shape[0] == LUNGS.channels
    assert np.isfinite(answer).all()
    assert answer.std() > 0
    assert Predictor(found.bundle).engine == "torchscript-walled"


@pytest.mark.slow
@walled
def test_onnx_answers_behind_walls_as_it_says(tmp_path, workspace):
    weights = np.random.default_rng(4).normal(size=(LUNGS.channels, 1, 1, 1, 1))
    found = Models(workspace.catalog).import_model(onnx_file(tmp_path / "tiny.onnx", weights), recipe="lungs")
    assert (found.layout, found.bundle.network["out_channels"]) == ("onnx", LUNGS.channels)
    image = np.random.default_rng(3).normal(size=(1, 1, 96, 96, 96)).astype(np.float32)
    with Worker("onnx", (tmp_path / "tiny.onnx").read_bytes()) as worker:
        np.testing.assert_allclose(worker.run(image), image * weights.reshape(1, -1, 1, 1, 1).astype(np.float32), atol=1e-5)


class Writes(nn.Module):
    """Makes a file and maps it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file(self.path, True, 4).sum()


class Turns(nn.Module):
    """Never ends."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool((x == x).all()):
            x = x + 1.0
        return x


@pytest.mark.slow
@walled
def test_what_runs_behind_walls_writes_nothing_and_ends(tmp_path):
    ready, image = Bounds(opening=120.0, seconds=60.0), np.zeros((1, 1, 4, 4, 4), np.float32)
    canary = tmp_path / "canary"
    worker = Worker("torchscript", scripted(tmp_path / "w.ts", Writes(str(canary))).read_bytes(), bounds=ready)
    with worker, pytest.raises(ModelError, match=r"run behind walls and failed: .*Error"):
        worker.run(image)
    assert not canary.exists()
    with Worker("torchscript", scripted(tmp_path / "t.ts", Turns()).read_bytes(), bounds=Bounds(opening=120.0, seconds=20.0)) as worker:
        began = time.monotonic()
        with pytest.raises(ModelError, match="it ran for longer than it may and was ended"):
            worker.run(image)
        assert time.monotonic() - began < 150
