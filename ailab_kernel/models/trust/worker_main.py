"""The other side of `worker`, run by its path as a script behind walls: it answers arrays with arrays.

It sees torch or OpenVINO, one model file and nothing of the lab; a line of JSON says the shape of the float32 that
follow it, in both directions.
"""

import json
import os
import resource
import sys
from typing import Any

import numpy as np

_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}


def main(kind: str, path: str, memory: int) -> None:
    """Answer every array on standard input."""
    answers, errors = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(errors, 1)                         # what the program prints is no answer
    os.dup2(errors, 2)
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (most, most))
    with os.fdopen(answers, "wb", buffering=0) as out:
        try:
            run, told = {"torchscript": _torchscript, "onnx": _onnx}[kind](path)
        except (RuntimeError, ValueError, TypeError, MemoryError, AttributeError, OSError) as error:
            _say(out, {"failed": _why(error)})
            return
        _say(out, {"ready": told})
        while line := sys.stdin.buffer.readline():
            shape = json.loads(line)["shape"]
            data = sys.stdin.buffer.read(4 * int(np.prod(shape)))
            _answer(out, run, np.frombuffer(data, np.float32).reshape(shape))


def _answer(out: Any, run: Any, image: np.ndarray) -> None:
    try:
        found = np.ascontiguousarray(run(image), np.float32)
    except (RuntimeError, ValueError, TypeError, MemoryError, AttributeError, IndexError, OSError) as error:
        _say(out, {"failed": _why(error)})
        return
    _say(out, {"shape": list(found.shape)})
    left = found.data.cast("B")
    while left:
        left = left[out.write(left) :]


def _say(out: Any, told: dict[str, Any]) -> None:
    out.write(json.dumps(told).encode() + b"\n")


def _why(error: BaseException) -> str:
    """The last line that says something; where it was said stays here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:120] if lines else ''}"


def _torchscript(path: str) -> tuple[Any, list[Any]]:
    import warnings

    import torch

    warnings.simplefilter("ignore")
    program = torch.jit.load(path, map_location="cpu").eval()

    def _run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return program(torch.from_numpy(image.copy())).numpy()

    return _run, []


def _onnx(path: str) -> tuple[Any, list[Any]]:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    shape = [int(size.get_length()) if size.is_static else 0 for size in model.inputs[0].get_partial_shape()]
    compiled = core.compile_model(model, "CPU", _SETTINGS)
    return (lambda image: compiled(image)[0]), shape


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
