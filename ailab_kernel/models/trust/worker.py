"""A network that is a program runs in a process of its own, without network, files or secrets, and with limits.

The walls are bubblewrap's, as around a person's server, with one more around the network: inside there are the
system's programs and Python, one model file, and no environment. Where walls cannot be built nothing is run.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np

from ailab_kernel.fleet.sandbox import Walls, lacking
from ailab_kernel.ground.errors import ModelError, UnsafeModel

_MAIN = Path(__file__).with_name("worker_main.py")
_LONGEST_LINE = 4096
_ENDED_S = 5.0


@dataclass(frozen=True)
class Bounds:
    """What a program may cost.

    Attributes
    ----------
    opening, seconds
        To be opened, and for one answer.
    memory_bytes
        Of address space, libraries among it.
    answer_bytes
        Of one answer.
    """

    opening: float = 300.0
    seconds: float = 300.0
    memory_bytes: int = 16 << 30
    answer_bytes: int = 4 << 30


class Worker:
    """One program behind walls, opened by its first use.

    Parameters
    ----------
    kind
        ``torchscript`` or ``onnx``.
    data
        The program's file.
    bounds
        Limits.

    Raises
    ------
    UnsafeModel
        Walls cannot be built on this machine.
    """

    def __init__(self, kind: str, data: bytes, *, bounds: Bounds = Bounds()) -> None:
        missing = lacking()
        if missing:
            raise UnsafeModel(_no_walls(missing))
        self._bounds, self._kind = bounds, kind
        root = Path(tempfile.mkdtemp(prefix="ailab-walls-"))
        self._running: list[subprocess.Popen[bytes]] = []
        # Whoever forgets a worker leaves nothing behind either, the end of this process included.
        self._release = weakref.finalize(self, _leave_nothing, root, self._running)
        self._model = root / f"model.{kind}"
        self._model.write_bytes(data)
        self._model.chmod(0o444)
        for name in ("home", "tmp"):
            (root / name).mkdir()
        self.input_shape: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the program and leave nothing behind."""
        self._release()

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the program's float32 answer to a float32 array.

        Raises
        ------
        ModelError
            It failed, took too long or too much memory, or its answer is no array within bounds.
        """
        process = self._opened()
        assert process.stdin is not None
        end = time.monotonic() + self._bounds.seconds
        array = np.ascontiguousarray(image, np.float32)
        try:
            process.stdin.write(json.dumps({"shape": list(array.shape)}).encode() + b"\n")
            process.stdin.write(array.data.cast("B"))
            process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("its process ended") from None
        shape = self._line(end).get("shape")
        if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
            raise self._failed("its answer is no array")
        size = 4 * int(np.prod(shape, dtype=object))
        if size > self._bounds.answer_bytes:
            raise self._failed(f"its answer of {size} bytes is too large")
        return np.frombuffer(self._bytes(size, end), np.float32).reshape(shape)

    def _opened(self) -> "subprocess.Popen[bytes]":
        if self._running and self._running[0].poll() is None:
            return self._running[0]
        _end(self._running)
        root = self._model.parent
        walls = Walls(home=root / "home", tmp=root / "tmp", hide=root, reads=(self._model, _MAIN))
        first, *rest = walls.words()
        command = [first, "--unshare-net", "--new-session", *rest, sys.executable, "-I", str(_MAIN), self._kind,
                   str(self._model), str(self._bounds.memory_bytes)]  # fmt: skip
        own = {"PATH": os.defpath, "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
        self._running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE, env=own))  # fmt: skip
        ready = self._line(time.monotonic() + self._bounds.opening).get("ready")
        if not isinstance(ready, list) or not all(type(n) is int for n in ready):
            raise self._failed("it cannot be opened")
        self.input_shape = tuple(ready)
        return self._running[0]

    def _line(self, end: float) -> dict[str, object]:
        """The next line of JSON, or the reason why there is none."""
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            line += self._bytes(1, end)
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise self._failed("its answer is no array")
        if "failed" in told:
            raise self._failed(str(told["failed"])[:200])
        return told

    def _bytes(self, count: int, end: float) -> bytes:
        process = self._running[0]
        assert process.stdout is not None
        parts: list[bytes] = []
        while count:
            if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise self._failed("it ran for longer than it may and was ended")
            part = os.read(process.stdout.fileno(), min(count, 1 << 20))
            if not part:
                raise self._ended(process)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _ended(self, process: "subprocess.Popen[bytes]") -> ModelError:
        """Why it is gone: walls that could not be built speak first."""
        assert process.stderr is not None
        said = _first_line(process.stderr)
        if said.startswith(("bwrap:", "setpriv:")):
            _end(self._running)
            return UnsafeModel(_no_walls(said))
        return self._failed("its process ended, or needed more memory than it may have")

    def _failed(self, why: str) -> ModelError:
        _end(self._running)
        text = "".join(letter if letter.isprintable() else " " for letter in why)
        return ModelError(f"the {self._kind} program was run behind walls and failed: {text}")


def _leave_nothing(root: Path, running: list[subprocess.Popen[bytes]]) -> None:
    _end(running)
    shutil.rmtree(root, ignore_errors=True)


def _end(running: list[subprocess.Popen[bytes]]) -> None:
    while running:
        process = running.pop()
        process.kill()
        process.wait(_ENDED_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def _first_line(stream: IO[bytes]) -> str:
    return os.read(stream.fileno(), _LONGEST_LINE).decode("utf8", "replace").partition("\n")[0][:200]


def _no_walls(why: str) -> str:
    return f"a model that is a program runs behind walls only, and they cannot be built here: {why}; nothing was run"
