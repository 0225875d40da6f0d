"""Weights as numbers: a safetensors file whose header holds, or a torch checkpoint that names tensors and no more."""

import io
import math
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from ailab_kernel.ground.errors import ModelError, UnsafeModel

from .config import read_json
from .files import read_members

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NUMPY: Mapping[str, np.dtype[Any]] = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
_INFINITE_BF16 = 0x7F80                        # all exponent bits: no number
_PART = 1 << 22
_MOST_PICKLE, _MOST_DIMENSIONS = 64 << 20, 8
# What the pickle of a state dict says (torch.save since 1.6). Other words make other objects.
_WORDS = frozenset({
    "PROTO", "STOP", "FRAME", "MARK", "POP", "POP_MARK", "DUP", "MEMOIZE",
    "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "BINPERSID", "GLOBAL", "REDUCE", "BUILD",
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
})  # fmt: skip
_NAMES = frozenset({
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte",
                                          "Bool")),
})  # fmt: skip


def check_safetensors(data: bytes, bundle: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file, read from its header.

    Parameters
    ----------
    data
        The file.
    bundle
        Named in errors.

    Raises
    ------
    ModelError
        Cut off, overlapping or overflowing tensors, or values that are no numbers.
    """
    what = f"bundle {bundle}: the safetensors file"
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else len(data)
    if len(data) < 8 or size > len(data) - 8:
        msg = f"{what} is cut off: its header says {size} bytes, {max(len(data) - 8, 0)} are there"
        raise ModelError(msg)
    header = read_json(data[8 : 8 + size], f"{what}'s header")
    if not isinstance(header, dict):
        msg = f"{what}'s header is no mapping of names to tensors"
        raise ModelError(msg)
    found = {name: _tensor(entry, name, what) for name, entry in header.items() if name != "__metadata__"}
    end = 0
    for name, (_, _, (begin, stop)) in sorted(found.items(), key=lambda item: (item[1][2], item[0])):
        if begin != end:
            msg = f"{what} is damaged: {name[:60]!r} begins at {begin}, the tensor before it ends at {end}"
            raise ModelError(msg)
        end = stop
    if end != len(data) - 8 - size:
        msg = f"{what} is damaged: its tensors take {end} bytes, {len(data) - 8 - size} are there"
        raise ModelError(msg)
    for name, (kind, _, (begin, stop)) in found.items():
        _check_numbers(memoryview(data)[8 + size + begin : 8 + size + stop], kind, f"{what}: {name[:60]!r}")
    return {name: shape for name, (_, shape, _) in found.items()}


def _tensor(entry: Any, name: str, what: str) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """Kind, shape and place of one tensor."""
    told = entry if isinstance(entry, dict) else {}
    kind, shape, place = told.get("dtype"), told.get("shape"), told.get("data_offsets")
    if kind not in _BYTES or not _counts(shape, _MOST_DIMENSIONS) or not _counts(place, 2) or len(place) != 2:
        msg = f"{what} is damaged: {name[:60]!r} has no known kind, shape and place"
        raise ModelError(msg)
    if place[1] - place[0] != math.prod(shape) * _BYTES[kind]:
        msg = f"{what} is damaged: {name[:60]!r} has another size than its shape"
        raise ModelError(msg)
    return kind, tuple(shape), (place[0], place[1])


def _counts(value: Any, most: int) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= most and all(type(n) is int and n >= 0 for n in value)


def _check_numbers(data: memoryview, kind: str, what: str) -> None:
    step = _PART * _BYTES[kind]
    for begin in range(0, len(data), step):
        part = data[begin : begin + step]
        if kind == "BF16":
            fine = ((np.frombuffer(part, "<u2") & _INFINITE_BF16) != _INFINITE_BF16).all()
        else:
            fine = kind not in _NUMPY or np.isfinite(np.frombuffer(part, _NUMPY[kind])).all()
        if not fine:
            msg = f"{what} holds values that are no numbers (NaN or infinite); no network answers with them"
            raise ModelError(msg)


def as_safetensors(data: bytes, *, bundle: str, path: str = "models/model.pt") -> bytes:
    """Convert a torch checkpoint to safetensors; its pickle is read word by word before torch sees it.

    Raises
    ------
    UnsafeModel
        It names anything but tensors, or is a program.
    ModelError
        No state dict, or cut off.
    """
    import torch
    from safetensors.torch import save

    what = f"bundle {bundle}: {path}"
    _check_checkpoint(data, what)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, TypeError, KeyError, IndexError,
            AttributeError, OverflowError, MemoryError) as error:  # fmt: skip
        msg = f"{what} is damaged, or holds more than weights ({type(error).__name__}); export a state dict"
        raise UnsafeModel(msg) from None
    for key in ("model", "state_dict"):
        state = state.get(key, state) if isinstance(state, Mapping) else {}
    if not state or not all(isinstance(key, str) and type(value) in {torch.Tensor, torch.nn.Parameter}
                            for key, value in state.items()):  # fmt: skip
        msg = f"{what} is no state dict; a mapping of names to tensors is expected"
        raise ModelError(msg)
    if sum(value.numel() * value.element_size() for value in state.values()) > 2 * len(data):
        msg = f"{what} says that its tensors are larger than the file: a bomb; refused"
        raise UnsafeModel(msg)
    return save({key: value.detach().contiguous().clone() for key, value in sorted(state.items())})


def _check_checkpoint(data: bytes, what: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            names = members.namelist()
            if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
                msg = f"{what} is a program (TorchScript), no weights; import it as one file: ailab models import X.ts"
                raise UnsafeModel(msg)
            pickles = read_members(members, what, wanted=lambda name: name.endswith("/data.pkl"))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        legacy = data[:1] == b"\x80" or data[257:262] == b"ustar"
        more = "a bare pickle or an archive of old, which holds more than weights" if legacy else "no torch checkpoint"
        msg = f"{what} is {more} ({type(error).__name__}); save a state dict again with torch 1.6 or later"
        raise UnsafeModel(msg) from None
    if len(pickles) != 1:
        msg = f"{what} is no torch checkpoint: one data.pkl is expected, it has {len(pickles)}"
        raise UnsafeModel(msg)
    _check_pickle(next(iter(pickles.values())), what)


def _check_pickle(data: bytes, what: str) -> None:
    """Refuse by name what a state dict does not need."""
    try:
        for word, argument, _ in pickletools.genops(data[:_MOST_PICKLE]):
            strange = word.name not in _WORDS or (word.name == "GLOBAL" and argument not in _NAMES)
            if strange:
                name = str(argument).replace(" ", ".")[:60] if word.name in {"GLOBAL", "INST"} else f"({word.name})"
                msg = f"{what} holds more than weights: its pickle calls for {name}; refused, export a state dict"
                raise UnsafeModel(msg)
    except (ValueError, IndexError, OverflowError) as error:
        msg = f"{what} has a pickle that cannot be read ({str(error)[:60]}); refused"
        raise UnsafeModel(msg) from None
