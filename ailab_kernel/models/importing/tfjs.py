"""TensorFlow.js layers models of MeshNet, as brainchop publishes them: ``model.json`` and one or more weight files.

Kernels there are (axis 0, 1, 2, in, out) and weights float32, one after the other in the manifest's order. Their
axes are those of a volume that FreeSurfer conformed, (left, inferior, anterior); a network of this lab sees
(head, posterior, left). All padding is equal on both sides, so turning the kernels turns the network.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.models.trust import Source, read_json

from .converted import Converted

MODEL = "model.json"
_AXES = (4, 3, 1, 2, 0)            # (left, inferior, anterior, in, out) to (out, in, inferior, anterior, left)
_FLIPPED = (2, 3)                              # inferior to head, anterior to posterior
_FIXED = {"strides": [1, 1, 1], "padding": "same", "data_format": "channels_last", "groups": 1}
_UNCHECKED = (
    "axes: model.json does not say them; taken as those of a volume conformed by FreeSurfer (left, inferior, anterior)",
    "preprocessing: model.json does not say it; the recipe of this lab decides",
)


def is_tfjs(source: Source) -> bool:
    """Whether the files are a TensorFlow.js layers model."""
    return MODEL in source.files and b'"layers-model"' in source.files[MODEL]


def read_tfjs(source: Source) -> Converted:
    """Return the MeshNet that a layers model describes.

    Raises
    ------
    ModelError
        Other layers than a MeshNet's, or weights that are not all there.
    """
    from safetensors.numpy import save

    told = read_json(source.files[MODEL], f"{source.name}: {MODEL}")
    try:
        layers = told["modelTopology"]["model_config"]["config"]["layers"]
        convolutions, activation = _stack(layers, source.name)
        arrays = _arrays(told["weightsManifest"], source)
        tensors = {f"{place}.{kind}": array for place, layer in _places(convolutions)
                   for kind, array in _turned(arrays, layer["config"])}  # fmt: skip
        network = _network(convolutions, activation)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        msg = f"{source.name}: {MODEL} is no layers model of a MeshNet ({type(error).__name__}: {str(error)[:60]})"
        raise ModelError(msg) from None
    labels = _labels(source, network["out_channels"])
    unknown = "labels: no colormap of as many names as the network has outputs; the recipe of this lab decides"
    unchecked = _UNCHECKED if labels else (*_UNCHECKED, unknown)
    return Converted(network, save(tensors), _metadata(labels), unchecked)


def _stack(layers: Sequence[Mapping[str, Any]], name: str) -> tuple[list[Mapping[str, Any]], str]:
    """The convolutions of a chain, and the one activation between them."""
    convolutions = [layer for layer in layers if layer["class_name"] == "Conv3D"]
    between = {layer["config"]["activation"] for layer in layers if layer["class_name"] == "Activation"}
    kinds = [layer["class_name"] for layer in layers]
    count = len(convolutions) - 1
    chained = all(layer["inbound_nodes"][0][0][0] == before["name"] for before, layer in itertools.pairwise(layers))
    plain = all(layer["config"].get(key, value) == value for layer in convolutions for key, value in _FIXED.items())
    linear = all(layer["config"]["activation"] == "linear" for layer in convolutions)
    sizes = [layer["config"]["kernel_size"] for layer in convolutions]
    same = len({layer["config"]["filters"] for layer in convolutions[:-1]}) == 1
    with_bias = [layer["config"]["use_bias"] for layer in convolutions]
    biased = len(set(with_bias[:-1])) == 1 and with_bias[-1]
    if (kinds != ["InputLayer", *["Conv3D", "Activation"] * count, "Conv3D"] or len(between) != 1 or not chained
            or not (plain and linear and same and biased) or sizes != [[3, 3, 3]] * count + [[1, 1, 1]]):  # fmt: skip
        msg = (f"{name}: {MODEL} holds other layers than a MeshNet's (dilated 3 x 3 x 3 convolutions, one activation, "
               "1 x 1 x 1)")  # fmt: skip
        raise ModelError(msg)
    return convolutions, between.pop()


def _network(convolutions: Sequence[Mapping[str, Any]], activation: str) -> dict[str, Any]:
    *inner, last = (layer["config"] for layer in convolutions)
    return {
        "_target_": "MeshNet", "in_channels": 1, "out_channels": last["filters"], "channels": inner[0]["filters"],
        "dilations": [one["dilation_rate"][0] for one in inner], "activation": activation, "bias": inner[0]["use_bias"],
    }  # fmt: skip


def _places(convolutions: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    names = [f"layers.{number}" for number in range(len(convolutions) - 1)]
    return list(zip([*names, "last"], convolutions, strict=True))


def _arrays(manifest: Sequence[Mapping[str, Any]], source: Source) -> dict[str, np.ndarray]:
    """Every weight by its name; files are looked up among those that were given, and nowhere else."""
    found: dict[str, np.ndarray] = {}
    for group in manifest:
        missing = [path for path in group["paths"] if path not in source.files]
        if missing:
            msg = f"{source.name}: its weight file {str(missing[0])[:60]!r} is missing"
            raise ModelError(msg)
        data, offset = b"".join(source.files[path] for path in group["paths"]), 0
        for one in group["weights"]:
            shaped = all(type(n) is int and n > 0 for n in one["shape"])
            if one["dtype"] != "float32" or "quantization" in one or not shaped:
                msg = f"{source.name}: weight {str(one['name'])[:60]!r} is no plain float32 array"
                raise ModelError(msg)
            count = math.prod(one["shape"])
            if offset + 4 * count > len(data):
                msg = f"{source.name}: its weights are cut off at {str(one['name'])[:60]!r}"
                raise ModelError(msg)
            found[one["name"]] = np.frombuffer(data, "<f4", count, offset).reshape(one["shape"])
            offset += 4 * count
        if offset != len(data):
            msg = f"{source.name}: its weight files hold {len(data) - offset} bytes that nothing names"
            raise ModelError(msg)
    return found


def _turned(arrays: Mapping[str, np.ndarray], layer: Mapping[str, Any]) -> list[tuple[str, np.ndarray]]:
    kernel = np.flip(arrays[f"{layer['name']}/kernel"].transpose(_AXES), _FLIPPED)
    bias = [("bias", arrays[f"{layer['name']}/bias"].copy())] if layer["use_bias"] else []
    return [("weight", np.ascontiguousarray(kernel)), *bias]


def _labels(source: Source, count: int) -> list[str]:
    """Names of the outputs, from the one colormap that has as many."""
    for path in sorted(path for path in source.files if path.startswith("colormap")):
        names = read_json(source.files[path], f"{source.name}: {path}").get("labels", [])
        if len(names) == count:
            return [str(one) for one in names]
    return []


def _metadata(labels: Sequence[str]) -> dict[str, Any]:
    if not labels:
        return {}
    named = {str(number): label.lower().replace(" ", "-") for number, label in enumerate(labels)}
    pred = {"type": "image", "format": "segmentation", "channel_def": named}
    return {"network_data_format": {"outputs": {"pred": pred}}}
