"""Configuration as data: strict JSON, and a ``network_def`` whose ``_target_`` is on a list."""

import json
from collections.abc import Mapping
from typing import Any

from ailab_kernel.ground.errors import ModelError, UnsafeModel

_PREFIX = "monai.networks.nets."
_OURS = "ailab_kernel.models.meshnet."
NETWORKS = {
    **{name: _PREFIX + name for name in (
        "AHNet", "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DenseNet121", "DynUNet", "EfficientNetBN",
        "Generator", "HighResNet", "ResNet", "SEResNet50", "SegResNet", "SegResNetDS", "SegResNetVAE", "SwinUNETR",
        "UNETR", "UNet", "VNet",
    )},
    "MeshNet": _OURS + "MeshNet",
}  # fmt: skip
# Networks that are programs: never opened in this process.
PROGRAMS = {"torchscript": "models/model.ts", "onnx": "models/model.onnx"}
PROGRAM = "program."
_MOST_JSON, _DEEP, _MOST_VALUES, _LARGEST = 16 << 20, 64, 2000, 1 << 16
_LONGEST = 200
# Arguments by which a network would fetch weights of its own.
_FETCHES = ("pretrained", "path", "url", "file")


def read_json(data: bytes, what: str) -> Any:
    """Return JSON of a bounded size and depth, each key once, no constants beyond JSON's own (RFC 8259).

    Raises
    ------
    ModelError
        It is none; ``what`` is named.
    """
    if len(data) > _MOST_JSON:
        msg = f"{what} has {len(data) >> 20} MiB; no configuration has so much"
        raise ModelError(msg)
    try:
        value = json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
        msg = f"{what} is not valid JSON: {why}"
        raise ModelError(msg) from None
    _check_depth(value, what)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a key occurs twice"
        raise ValueError(msg)
    return found


def _no_constant(name: str) -> float:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _check_depth(value: object, what: str) -> None:
    layer = [value]
    for _ in range(_DEEP):
        layer = [item for one in layer for item in _items(one)]
        if not layer:
            return
    msg = f"{what} is nested more than {_DEEP} deep"
    raise ModelError(msg)


def _items(value: object) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []


def check_metadata(value: object, what: str) -> dict[str, Any]:
    """Return metadata, a mapping of plain JSON; what MONAI's parser would run or build in it is refused.

    Raises
    ------
    UnsafeModel
        An expression, a reference, or something to be built.
    ModelError
        No mapping.
    """
    if not isinstance(value, Mapping):
        msg = f"{what} is no mapping of names to values"
        raise ModelError(msg)
    _check_plain(value, what)
    return dict(value)


def expressions(config: object) -> int:
    """Return how many expressions and things to be built a configuration holds."""
    if isinstance(config, str):
        return int(config[:1] == "$")
    built = int(isinstance(config, Mapping) and "_target_" in config)
    return built + sum(expressions(item) for item in _items(config))


def plain_network(config: object) -> object:
    """Return ``network_def`` with references to the configuration's own plain numbers (``@latent_size``) filled in.

    An expression (``$...``) is left as it stands, for `check_network` to refuse.
    """
    if not isinstance(config, Mapping):
        return None
    plain = {f"@{key}": value for key, value in config.items() if isinstance(value, int | float | list)}

    def _filled(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: _filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [_filled(item) for item in value]
        return plain.get(value, value) if isinstance(value, str) else value

    return _filled(config.get("network_def"))


def check_network(network: object, *, bundle: str) -> dict[str, Any]:
    """Return ``network_def`` when it is an allowed network with plain arguments.

    Raises
    ------
    UnsafeModel
        A ``_target_`` that is not on the list, or an argument that is code, fetches something, or is out of bounds.
    ModelError
        No ``network_def``.
    """
    if not isinstance(network, Mapping) or "_target_" not in network:
        msg = f"bundle {bundle}: configs/inference.json has no network_def with a _target_"
        raise ModelError(msg)
    target = str(network["_target_"])
    short = target.rpartition(".")[2] if target in NETWORKS.values() else target
    known = NETWORKS.get(short) or (target if target.removeprefix(PROGRAM) in PROGRAMS else None)
    if known is None:
        msg = f"bundle {bundle}: _target_ {target[:60]!r} is not on the list of allowed networks ({_PREFIX}...)"
        raise UnsafeModel(msg)
    arguments = {key: value for key, value in network.items() if key != "_target_"}
    _check_plain(arguments, f"bundle {bundle}: network_def")
    _check_arguments(arguments, bundle)
    return {**arguments, "_target_": known}


def _check_plain(value: object, what: str) -> None:
    if isinstance(value, Mapping):
        built = [str(key)[:40] for key in value if str(key)[:1] in {"_", "$", "@", "%"}]
        if built:
            msg = f"{what}: something in it is itself built by code ({', '.join(built[:4])}); refused"
            raise UnsafeModel(msg)
    elif isinstance(value, str) and value[:1] in {"$", "@", "%"}:
        msg = f"{what} holds the expression {value[:40]!r}, which is never run; write its value"
        raise UnsafeModel(msg)
    for item in _items(value) if not isinstance(value, tuple) else value:
        _check_plain(item, what)


def _check_arguments(arguments: Mapping[str, Any], bundle: str) -> None:
    """Arguments of a network are few, small, and fetch nothing."""
    for key, value in arguments.items():
        if value and any(word in str(key).lower() for word in _FETCHES):
            msg = f"bundle {bundle}: network_def's {key} would fetch weights from elsewhere; leave it out"
            raise UnsafeModel(msg)
    layer: list[Any] = [dict(arguments)]
    count = 0
    while layer:
        count += len(layer)
        large = [one for one in layer if isinstance(one, int | float) and not -_LARGEST <= one <= _LARGEST]
        long = [one for one in layer if isinstance(one, str) and len(one) > _LONGEST]
        if large or long or count > _MOST_VALUES:
            what = f"a number beyond {_LARGEST}" if large else "a long text" if long else "thousands of values"
            msg = f"bundle {bundle}: network_def holds {what}; no network of this list is so large; refused"
            raise UnsafeModel(msg)
        layer = [item for one in layer for item in (one if isinstance(one, tuple) else _items(one))]
