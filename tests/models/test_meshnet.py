"""Real weights from elsewhere: brainchop's MeshNet, converted, on the T1 that comes with it (../shared/data)."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ailab_kernel.ground.errors import AnswerImplausible, ModelError
from ailab_kernel.inference import Predictor
from ailab_kernel.models import Models
from ailab_kernel.models.importing import read_model
from ailab_kernel.models.meshnet import MeshNet
from ailab_kernel.models.trust import build_network
from ailab_kernel.volumes.nifti import volume_from_nifti

BRAINCHOP = Path(__file__).parents[3] / "shared" / "data" / "models" / "brainchop"
real = pytest.mark.skipif(not BRAINCHOP.is_dir(), reason="needs ../shared/data/models/brainchop, which is not committed here")
WHITE_ML, GREY_ML = 518, 735                      # labels 1 and 2, which the colormap calls so; the README of the data has the words the other way round


@cache
def t1():
    return volume_from_nifti(BRAINCHOP / "t1_crop.nii.gz")


@pytest.mark.slow
@real
def test_grey_and_white_matter_have_their_volumes(workspace):
    found = Models(workspace.catalog).import_model(BRAINCHOP / "model5_gw_ae", recipe="brain-tissue")
    assert found.layout == "tfjs"
    assert any(one.startswith("preprocessing") for one in found.unchecked)
    ml = Predictor(found.bundle, engine="torch").predict(t1()).volumes_ml()
    assert ml["grey-matter"] == pytest.approx(GREY_ML, rel=0.1)
    assert ml["white-matter"] == pytest.approx(WHITE_ML, rel=0.1)


@pytest.mark.slow
@real
def test_a_model_that_fails_to_all_background_is_held_and_said(workspace):
    bundle = Models(workspace.catalog).import_model(BRAINCHOP / "model20chan3cls", recipe="brain-tissue").bundle
    with pytest.raises(AnswerImplausible, match=r"called every voxel background; held: recipe brain-tissue expects"):
        Predictor(bundle, engine="torch").predict(t1())


@real
@pytest.mark.parametrize("name", ["model18cls", "model21_104class"])
def test_a_model_of_other_labels_does_not_pass_for_this_recipes(workspace, name):
    bundle = Models(workspace.catalog).import_model(BRAINCHOP / name, recipe="brain-tissue").bundle
    with pytest.raises(ModelError, match=r"answers with \d+ channels, recipe brain-tissue reads 3"):
        Predictor(bundle, engine="torch")


def layers_model(folder, kernels):
    """A layers model of one dilated layer and the last one, as TensorFlow.js writes it."""
    (inner, inner_bias), (last, last_bias) = kernels
    fixed = {"strides": [1, 1, 1], "padding": "same", "data_format": "channels_last", "groups": 1, "activation": "linear",
             "use_bias": True}
    convolutions = [{"name": "a", "filters": inner.shape[4], "kernel_size": [3, 3, 3], "dilation_rate": [2, 2, 2], **fixed},
                    {"name": "b", "filters": last.shape[4], "kernel_size": [1, 1, 1], "dilation_rate": [1, 1, 1], **fixed}]
    chain = [("InputLayer", "in", {}), ("Conv3D", "a", convolutions[0]), ("Activation", "act", {"activation": "relu"}),
             ("Conv3D", "b", convolutions[1])]
    layers = [{"class_name": kind, "name": name, "config": {"name": name, **config},
               "inbound_nodes": [[[before, 0, 0, {}]]] if before else []}
              for (kind, name, config), before in zip(chain, [None, "in", "a", "act"], strict=True)]
    arrays = {"a/kernel": inner, "a/bias": inner_bias, "b/kernel": last, "b/bias": last_bias}
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"".join(array.astype("<f4").tobytes() for array in arrays.values()))
    (folder / "model.json").write_text(json.dumps({
        "format": "layers-model", "modelTopology": {"model_config": {"config": {"layers": layers}}},
        "weightsManifest": [{"paths": ["model.bin"], "weights": [
            {"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in arrays.items()]}]}))
    return folder


def test_turned_kernels_answer_as_the_layers_model_does_on_its_own_axes(tmp_path):
    """(left, inferior, anterior, in, out) there; (head, posterior, left) here: the same network on the turned image."""
    chance = np.random.default_rng(5)
    kernels = [(chance.normal(size=(3, 3, 3, 1, 4)), chance.normal(size=4)), (chance.normal(size=(1, 1, 1, 4, 3)), chance.normal(size=3))]
    bundle = read_model(layers_model(tmp_path / "tiny", kernels), name="tiny", recipe="brain-tissue").bundle
    network = build_network(bundle.network)
    network.load_state_dict(bundle.weights())
    theirs = MeshNet(in_channels=1, out_channels=3, channels=4, dilations=[2])
    with torch.no_grad():
        for layer, (kernel, bias) in zip((theirs.layers[0], theirs.last), kernels, strict=True):
            layer.weight.copy_(torch.tensor(kernel.transpose(4, 3, 0, 1, 2)))
            layer.bias.copy_(torch.tensor(bias))
        image = torch.tensor(chance.normal(size=(7, 9, 11)), dtype=torch.float32)      # left, inferior, anterior
        turned = image.permute(1, 2, 0).flip(0, 1)                                     # head, posterior, left
        there = theirs(image[None, None])[0]
        here = network(turned[None, None].contiguous())[0]
    torch.testing.assert_close(here, there.permute(0, 2, 3, 1).flip(1, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("change", "said"), [
    (lambda told: told["modelTopology"]["model_config"]["config"]["layers"].insert(2, {"class_name": "Lambda", "config": {}}),
     "is no layers model|other layers than a MeshNet's"),
    (lambda told: told["weightsManifest"][0]["paths"].__setitem__(0, "../../etc/passwd"), "weight file .* is missing"),
    (lambda told: told["weightsManifest"][0]["weights"][0].__setitem__("shape", [10 ** 6, 3, 3, 1, 4]), "cut off"),
    (lambda told: told["weightsManifest"][0]["weights"].pop(), "bytes that nothing names"),
    (lambda told: told["weightsManifest"][0]["weights"][0].__setitem__("dtype", "uint8"), "no plain float32"),
    (lambda told: told["modelTopology"].pop("model_config"), "is no layers model of a MeshNet"),
])  # fmt: skip
def test_what_is_no_meshnet_is_said(tmp_path, workspace, change, said):
    chance = np.random.default_rng(5)
    kernels = [(chance.normal(size=(3, 3, 3, 1, 4)), chance.normal(size=4)), (chance.normal(size=(1, 1, 1, 4, 3)), chance.normal(size=3))]
    folder = layers_model(tmp_path / "tiny", kernels)
    told = json.loads((folder / "model.json").read_text())
    change(told)
    (folder / "model.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=said):
        Models(workspace.catalog).import_model(folder, recipe="brain-tissue")
    assert len(Models(workspace.catalog).all()) == 0
