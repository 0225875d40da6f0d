"""Hugging Face's layout: ``config.json`` with a network of our list and its arguments, and ``model.safetensors``."""

from collections.abc import Mapping
from typing import Any

from ailab_kernel.ground.errors import ModelError, UnsafeModel
from ailab_kernel.models.trust import NETWORKS, Source, as_safetensors, check_metadata, check_network, read_json

from .converted import Converted

CONFIG, WEIGHTS, CHECKPOINT = "config.json", "model.safetensors", "pytorch_model.bin"
# Keys by which the hub's loaders would fetch and run code of the model's author.
_RUNS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "custom_code", "code_revision"})
# Keys that say nothing of the network.
_BOOKS = frozenset({
    "architectures", "_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype", "model_type",
    "id2label", "label2id", "license", "tags", "name", "description", "recipe", "intended_use", "limits",
})  # fmt: skip
_SAYS = ("name", "description", "recipe", "intended_use", "limits", "license")


def is_huggingface(source: Source) -> bool:
    """Whether the files are in Hugging Face's layout."""
    return CONFIG in source.files


def read_huggingface(source: Source) -> Converted:
    """Return the network that ``config.json`` names, with its weights.

    Raises
    ------
    UnsafeModel
        It points at code of its own, or its network is not on the list.
    ModelError
        No weights in one piece, or no network named.
    """
    config = read_json(source.files[CONFIG], f"{source.name}: {CONFIG}")
    if not isinstance(config, Mapping):
        msg = f"{source.name}: {CONFIG} is no mapping of names to values"
        raise ModelError(msg)
    runs = sorted(_RUNS & set(config))
    if runs:
        msg = f"bundle {source.name}: {CONFIG} points at code of its author ({', '.join(runs)}), which is never run"
        raise UnsafeModel(msg)
    said = check_metadata({key: config[key] for key in _SAYS if key in config}, f"bundle {source.name}: {CONFIG}")
    network = check_network(_network(config, source.name), bundle=source.name)
    return Converted(network, _weights(source), said, (
        "preprocessing and labels: config.json does not say them; the recipe of this lab decides",
    ))  # fmt: skip


def _network(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if "network_def" in config:
        return config["network_def"]
    if "_target_" in config:
        return {key: value for key, value in config.items() if key not in _BOOKS}
    built = config.get("architectures")
    if isinstance(built, list) and len(built) == 1 and built[0] in NETWORKS:
        return {"_target_": built[0], **{key: value for key, value in config.items() if key not in _BOOKS}}
    msg = (f"bundle {name}: {CONFIG} names the network {str(built or 'none')[:60]}, which is not on the list of "
           "allowed networks; its architectures must be one of: " + ", ".join(sorted(NETWORKS)))  # fmt: skip
    raise UnsafeModel(msg)


def _weights(source: Source) -> bytes:
    if WEIGHTS in source.files:
        return source.files[WEIGHTS]
    if CHECKPOINT in source.files:
        return as_safetensors(source.files[CHECKPOINT], bundle=source.name, path=CHECKPOINT)
    parts = any(path.endswith(".index.json") for path in source.files)
    what = "in several pieces; save them as one model.safetensors" if parts else f"missing; {WEIGHTS} is expected"
    msg = f"{source.name}: its weights are {what}"
    raise ModelError(msg)
