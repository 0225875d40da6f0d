"""An engine for networks that are programs (TorchScript, ONNX): every window is answered behind walls."""

from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.models import Bundle
from ailab_kernel.models.trust.worker import Worker


@dataclass(frozen=True)
class WalledEngine:
    """A program in a process without network and files; it ends with this one."""

    worker: Worker
    channels: int
    name: str

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Return float32 logits (n, channels, *roi) of float32 windows (n, 1, *roi).

        Raises
        ------
        ModelError
            It failed, or answered with another shape.
        """
        answer = self.worker.run(windows)
        expected = (windows.shape[0], self.channels, *windows.shape[2:])
        if answer.shape != expected:
            msg = f"the program answered an image of {windows.shape} with {answer.shape}; expected was {expected}"
            raise ModelError(msg)
        return answer


def walled_engine(bundle: Bundle) -> WalledEngine:
    """Return the engine of a model that is a program.

    Raises
    ------
    UnsafeModel
        Walls cannot be built on this machine.
    """
    kind = str(bundle.network["_target_"]).partition(".")[2]
    channels = int(bundle.network["out_channels"])
    return WalledEngine(Worker(kind, bundle.file(bundle.program)), channels, f"{kind}-walled")
