"""Safe loading: a model from outside is data, and what would be code in it is refused by name.

MONAI's own parser runs ``$`` expressions and any ``_target_``; a pickle runs what it likes. Here files are read within
bounds, ``network_def`` must name a network on a list with plain arguments, weights are numbers with a shape, and a
network that is a program itself (TorchScript, ONNX) runs behind walls only.
"""

from .config import NETWORKS, PROGRAMS, check_metadata, check_network, plain_network, read_json
from .files import Source, read_source
from .network import build_network, check_fits, is_program
from .weights import as_safetensors, check_safetensors

__all__ = [
    "NETWORKS",
    "PROGRAMS",
    "Source",
    "as_safetensors",
    "build_network",
    "check_fits",
    "check_metadata",
    "check_network",
    "check_safetensors",
    "is_program",
    "plain_network",
    "read_json",
    "read_source",
]
