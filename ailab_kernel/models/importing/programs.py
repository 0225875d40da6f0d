"""TorchScript and ONNX: networks that are programs. They are asked behind walls, once, to see what they take."""

import io
import zipfile
import zlib

import numpy as np

from ailab_kernel.ground.errors import ModelError, UnsafeModel
from ailab_kernel.models.trust import PROGRAMS, Source
from ailab_kernel.models.trust.config import PROGRAM
from ailab_kernel.models.trust.files import read_members
from ailab_kernel.models.trust.worker import Bounds, Worker

from .converted import Converted
from .onnx import check_onnx

_SUFFIXES = {".ts": "torchscript", ".pt": "torchscript", ".pth": "torchscript", ".onnx": "onnx"}
# What a network of this lab could be asked: one channel, three dimensions, then two.
_PROBES = ((1, 1, 32, 32, 32), (1, 1, 96, 96, 96), (1, 1, 64, 64))
_SMALLEST = 32
_OPENING = Bounds(opening=300.0, seconds=120.0, memory_bytes=8 << 30, answer_bytes=1 << 30)
_UNCHECKED = (
    "what the program does: it is not read; it runs behind walls, without network and files, whenever it is used",
    "its weights, and whether they belong to this network: they are part of the program",
    "preprocessing and labels: it does not say them; the recipe of this lab decides",
)


def program_kind(source: Source) -> str:
    """``torchscript`` or ``onnx`` where the source is one such file, else empty."""
    paths = list(source.files)
    return next((kind for ending, kind in _SUFFIXES.items() if len(paths) == 1 and paths[0].endswith(ending)), "")


def is_program_file(source: Source) -> bool:
    """Whether the source is one TorchScript or ONNX file."""
    return bool(program_kind(source))


def read_program(source: Source) -> Converted:
    """Return a program as a model, after it answered an image of zeros behind walls.

    Raises
    ------
    UnsafeModel
        It leads elsewhere, or walls cannot be built here.
    ModelError
        It fails, or answers with something that is no set of labels for the image.
    """
    kind, data = program_kind(source), next(iter(source.files.values()))
    if kind == "onnx":
        check_onnx(data, source.name)
    else:
        _check_torchscript(data, source.name)
    dimensions, channels = _asked(kind, data)
    network = {"_target_": PROGRAM + kind, "spatial_dims": dimensions, "in_channels": 1, "out_channels": channels}
    return Converted(network, data, {}, _UNCHECKED)


def program_path(kind: str) -> str:
    """Where a bundle keeps a program."""
    return PROGRAMS[kind]


def _check_torchscript(data: bytes, name: str) -> None:
    """A zip within bounds that holds code; a bare checkpoint belongs into a bundle, beside its network."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            read_members(members, f"bundle {name}", wanted=lambda _: False)
            names = members.namelist()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        msg = f"bundle {name}: no TorchScript file ({type(error).__name__}); a bare pickle is never opened"
        raise UnsafeModel(msg) from None
    if not any("/code/" in one for one in names):
        msg = f"bundle {name}: holds weights without a network; put it into a bundle, beside its network_def"
        raise ModelError(msg)


def _asked(kind: str, data: bytes) -> tuple[int, int]:
    """Dimensions and output channels of a program, from its answer to zeros."""
    last: ModelError | None = None
    with Worker(kind, data, bounds=_OPENING) as worker:
        for probe in _PROBES:
            shape = tuple(have or ask for have, ask in zip(worker.input_shape, probe, strict=False)) or probe
            if worker.input_shape and len(worker.input_shape) != len(probe):
                continue
            try:
                answer = worker.run(np.zeros(shape, np.float32))
            except UnsafeModel:
                raise
            except ModelError as error:
                last = error
                continue
            same = answer.ndim == len(shape) and answer.shape[2:] == shape[2:]
            if same and answer.shape[0] == 1 and answer.shape[1] > 1:
                return len(shape) - 2, answer.shape[1]
            last = ModelError(f"the {kind} program answers an image of {shape} with {answer.shape}; labels for each "
                              "voxel are expected, (1, channels, ...)")  # fmt: skip
    raise last or ModelError(f"the {kind} program takes no image of one channel in two or three dimensions")
