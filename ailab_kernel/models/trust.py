"""Safe loading: a bundle is data, and what would be code in it is refused by name.

MONAI's own parser runs ``$`` expressions and any ``_target_``; here only ``network_def`` is read, its ``_target_``
must be on the list below, and its arguments must be plain values.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import ModelError, UnsafeModel

if TYPE_CHECKING:
    from torch import nn

NETWORKS = (
    "AHNet", "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DenseNet121", "DynUNet", "EfficientNetBN",
    "Generator", "HighResNet", "ResNet", "SEResNet50", "SegResNet", "SegResNetDS", "SegResNetVAE", "SwinUNETR",
    "UNETR", "UNet", "UNet2DModel", "VNet",
)  # fmt: skip
_PREFIX = "monai.networks.nets."
_SUFFIXES = frozenset({".json", ".md", ".txt", ".safetensors", ".pt", ""})
_LIMIT = 2 << 30
_WEIGHTS = "models/model.safetensors"


def kept_files(folder: Path) -> dict[str, bytes]:
    """Read what a lab keeps of a bundle, by path: configuration, documents and weights (as safetensors).

    Other files (scripts, TorchScript, images) are left behind; links and paths that leave the folder are refused.
    """
    if not folder.is_dir():
        msg = f"{folder.name}: no such bundle folder; give a folder or zip in MONAI bundle layout"
        raise ModelError(msg)
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            msg = f"bundle {folder.name}: {path.relative_to(folder)} is a link; a bundle holds plain files only"
            raise UnsafeModel(msg)
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] in {"configs", "models", "docs", "LICENSE"}:
            _keep(files, str(PurePosixPath(relative)), path)
    converted = files.pop("models/model.pt", None)
    if converted and _WEIGHTS not in files:
        files[_WEIGHTS] = _as_safetensors(converted, folder.name)
    return files


def _keep(files: dict[str, bytes], name: str, path: Path) -> None:
    wanted = path.suffix in _SUFFIXES and (not name.startswith("models/") or path.stem == "model")
    if wanted and path.stat().st_size <= _LIMIT:
        files[name] = path.read_bytes()


def _as_safetensors(data: bytes, bundle: str) -> bytes:
    """Convert a torch checkpoint without unpickling objects (``weights_only``)."""
    import pickle

    import torch
    from safetensors.torch import save

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        msg = f"bundle {bundle}: models/model.pt holds more than weights ({type(error).__name__}); export a state dict"
        raise UnsafeModel(msg) from None
    state = state.get("model", state) if isinstance(state, Mapping) else {}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        msg = f"bundle {bundle}: models/model.pt is no state dict; a mapping of names to tensors is expected"
        raise ModelError(msg)
    return save({key: value.contiguous() for key, value in sorted(state.items())})


def plain_network(config: Mapping[str, Any]) -> object:
    """Return ``network_def`` with references to the configuration's own plain numbers (``@latent_size``) filled in.

    An expression (``$...``) is left as it stands, for `check_network` to refuse.
    """
    plain = {f"@{key}": value for key, value in config.items() if isinstance(value, int | float | list)}

    def _filled(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: _filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [_filled(item) for item in value]
        return plain.get(value, value) if isinstance(value, str) else value

    return _filled(config.get("network_def"))


def check_network(network: object, *, bundle: str) -> dict[str, Any]:
    """Return ``network_def`` when it is an allowed network with plain arguments, else raise UnsafeModel."""
    if not isinstance(network, Mapping) or "_target_" not in network:
        msg = f"bundle {bundle}: configs/inference.json has no network_def with a _target_"
        raise ModelError(msg)
    target = str(network["_target_"])
    short = target.removeprefix(_PREFIX)
    if short not in NETWORKS:
        msg = f"bundle {bundle}: _target_ {target!r} is not on the list of allowed networks ({_PREFIX}...)"
        raise UnsafeModel(msg)
    _check_plain({key: value for key, value in network.items() if key != "_target_"}, bundle)
    return {**network, "_target_": _PREFIX + short}


def _check_plain(value: object, bundle: str) -> None:
    if isinstance(value, Mapping):
        if any(str(key).startswith("_") for key in value):
            msg = f"bundle {bundle}: an argument of network_def is itself built by code ({', '.join(value)})"
            raise UnsafeModel(msg)
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, bundle)
    elif isinstance(value, str) and value[:1] in {"$", "@", "%"}:
        msg = f"bundle {bundle}: network_def holds the expression {value[:40]!r}, which is never run; write its value"
        raise UnsafeModel(msg)


def build_network(network: Mapping[str, Any]) -> "nn.Module":
    """Build the network that a checked ``network_def`` describes, with fresh weights."""
    from monai.networks import nets

    arguments = {key: value for key, value in check_network(network, bundle="network").items() if key != "_target_"}
    try:
        return getattr(nets, str(network["_target_"]).removeprefix(_PREFIX))(**arguments)
    except (TypeError, ValueError) as error:
        msg = f"network_def does not fit {network['_target_']}: {error}"
        raise ModelError(msg) from None


def unzip(archive: Path, folder: Path) -> Path:
    """Unpack a zipped bundle below ``folder``; members that leave it, links and bombs are refused."""
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                _check_member(member, archive.name)
            if sum(member.file_size for member in members.infolist()) > _LIMIT:
                msg = f"{archive.name}: unpacks to more than {_LIMIT >> 30} GiB; refused"
                raise UnsafeModel(msg)
            members.extractall(folder)
    except zipfile.BadZipFile:
        msg = f"{archive.name}: not a zip file; give a folder or zip in MONAI bundle layout"
        raise ModelError(msg) from None
    inner = [path for path in folder.iterdir() if path.is_dir()]
    return folder if (folder / "configs").is_dir() or len(inner) != 1 else inner[0]


def _check_member(member: zipfile.ZipInfo, archive: str) -> None:
    path = PurePosixPath(member.filename)
    is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename or is_link:
        msg = f"{archive}: the member {member.filename[:60]!r} would leave the bundle's folder; refused"
        raise UnsafeModel(msg)
