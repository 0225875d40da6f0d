"""What runs a network: torch, or OpenVINO in float32 on a CPU. Both take and give windows as float32 arrays."""

import secrets
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ailab_kernel.ground.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

IR = "model.xml"
# float32 throughout: OpenVINO would choose bfloat16 where the processor has it, and answer otherwise than torch.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "NUM_STREAMS": "1"}


class Engine(Protocol):
    """Runs one network on windows of a fixed size."""

    @property
    def name(self) -> str:
        """What it is called in records."""

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Return float32 logits (n, channels, *roi) of float32 windows (n, 1, *roi)."""


@dataclass(frozen=True)
class TorchEngine:
    """The network in torch; on a GPU with automatic mixed precision."""

    network: "nn.Module"
    device: str = "cpu"

    @property
    def name(self) -> str:
        """``torch`` or ``torch-cuda``."""
        return "torch" if self.device == "cpu" else f"torch-{self.device}"

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Return float32 logits (n, channels, *roi) of float32 windows (n, 1, *roi)."""
        import torch

        gpu = self.device != "cpu"
        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.float16, enabled=gpu):
            return self.network(torch.from_numpy(windows).to(self.device)).float().cpu().numpy()


@dataclass(frozen=True)
class OpenVinoEngine:
    """The network compiled by OpenVINO for this CPU."""

    compiled: Any
    name: str = "openvino"

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Return float32 logits (n, channels, *roi) of float32 windows (n, 1, *roi)."""
        return np.concatenate([self.compiled(window[None])[0] for window in windows])


def torch_engine(network: Mapping[str, Any], state: "Mapping[str, torch.Tensor]", *, device: str) -> TorchEngine:
    """Build the network and load its weights.

    Raises
    ------
    ModelError
        The weights do not fit the network.
    """
    from ailab_kernel.models import build_network

    module = build_network(network)
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        msg = f"the weights do not fit the network {network['_target_']}: {str(error).splitlines()[-1].strip()}"
        raise ModelError(msg) from None
    return TorchEngine(module.eval().to(device), device)


def openvino_engine(folder: Path) -> OpenVinoEngine:
    """Compile a converted network.

    Parameters
    ----------
    folder
        Made by `convert`.
    """
    core = openvino().Core()
    return OpenVinoEngine(core.compile_model(folder / IR, "CPU", SETTINGS))


def convert(module: "nn.Module", roi: tuple[int, int, int], folder: Path) -> Path:
    """Convert a torch network into OpenVINO's representation with a static window, float32.

    Parameters
    ----------
    module
        In evaluation mode, on the CPU.
    roi
        (slice, row, column) voxels of the window.
    folder
        Appears complete or not at all; returned.

    Raises
    ------
    ModelError
        OpenVINO cannot convert this network.
    """
    ov = openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = (1, 1, *roi)
    frontend = FrontEndManager().load_by_framework("pytorch")
    try:
        with warnings.catch_warnings():
            # torch.jit.trace is how OpenVINO 2026 reads a network, and torch 2.13 calls it deprecated.
            warnings.simplefilter("ignore")
            # Kept in a name: OpenVINO goes on reading from the decoder while it converts.
            decoder = TorchScriptPythonDecoder(module, example_input=_example(shape))
            model = frontend.convert(frontend.load(decoder))
        model.reshape({0: list(shape)})
    except RuntimeError as error:
        msg = f"OpenVINO cannot convert {type(module).__name__}: {str(error).splitlines()[0]}"
        raise ModelError(msg) from error
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir(parents=True)
    ov.save_model(model, draft / IR, compress_to_fp16=False)
    _publish(draft, folder)
    return folder


def _publish(draft: Path, folder: Path) -> None:
    """Rename into place; another process may have been quicker, with the same content."""
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft)


def _example(shape: tuple[int, ...]) -> "torch.Tensor":
    import torch

    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def openvino() -> Any:
    """Return OpenVINO with its telemetry shut out.

    On import it reports to a server and leaves a client ID in the home folder, without asking, unless
    ``openvino_telemetry`` is missing; then it uses its own empty stand-in. Here it is always missing.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino as library

    return library
