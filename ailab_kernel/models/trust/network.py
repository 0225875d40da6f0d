"""A network from its description: weighed before it is built, so that a few large numbers cost no memory."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import ModelError, UnsafeModel

from .config import PROGRAM, check_network
from .files import LIMIT

if TYPE_CHECKING:
    from torch import nn

_MOST_TENSORS = 4_000
Shapes = Mapping[str, tuple[int, ...]]


def is_program(network: Mapping[str, Any]) -> bool:
    """Whether the network is a program from outside, which runs behind walls only."""
    return str(network["_target_"]).startswith(PROGRAM)


def build_network(network: Mapping[str, Any]) -> "nn.Module":
    """Build the network that a ``network_def`` describes, with fresh weights.

    Raises
    ------
    UnsafeModel
        It is not allowed, or so large that it cannot be.
    ModelError
        Its arguments do not fit, or it needs a library that is absent.
    """
    make = _maker(network)
    _weigh(network, make)
    return _made(network, make)


def check_fits(network: Mapping[str, Any], shapes: Shapes, *, bundle: str) -> None:
    """Raise ModelError unless weights of these shapes are the network's, one for one; nothing is built.

    Parameters
    ----------
    network
        ``network_def``.
    shapes
        Of the weights, by name.
    bundle
        Named in errors.
    """
    try:
        wanted = _weigh(network, _maker(network))
    except UnsafeModel as error:
        msg = f"bundle {bundle}: {error}"
        raise UnsafeModel(msg) from None
    wrong = sorted(name for name in {*wanted, *shapes} if wanted.get(name) != shapes.get(name))
    if wrong:
        name = wrong[0]
        msg = (f"bundle {bundle}: the weights do not fit {network['_target_']}: {len(wrong)} differ, first "
               f"{name[:60]!r} (network {wanted.get(name, 'none')}, weights {shapes.get(name, 'none')})")  # fmt: skip
        raise ModelError(msg)


def _maker(network: Mapping[str, Any]) -> Callable[[], "nn.Module"]:
    checked = check_network(network, bundle="network")
    if is_program(checked):
        msg = f"{checked['_target_']} is a program: it is not built here, but runs behind walls"
        raise UnsafeModel(msg)
    arguments = {key: value for key, value in checked.items() if key != "_target_"}
    module, _, name = str(checked["_target_"]).rpartition(".")
    if name == "EfficientNetBN":               # by default it would fetch weights from the network
        arguments["pretrained"] = False
    return lambda: getattr(import_module(module), name)(**arguments)


def _made(network: Mapping[str, Any], make: Callable[[], "nn.Module"]) -> "nn.Module":
    from monai.utils import OptionalImportError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")    # of initial values that the weights replace
            return make()
    except OptionalImportError as error:
        msg = f"{network['_target_']} needs a library that is not installed: {str(error).splitlines()[0][:100]}"
        raise ModelError(msg) from None
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError, AssertionError, OverflowError,
            ZeroDivisionError, NotImplementedError, MemoryError) as error:  # fmt: skip
        why = (str(error) or type(error).__name__).splitlines()[0][:200]
        msg = f"network_def does not fit {network['_target_']}: {why}"
        raise ModelError(msg) from None


def _weigh(network: Mapping[str, Any], make: Callable[[], "nn.Module"]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's weights; made without memory for them, and stopped where they are too many."""
    import torch
    from torch.overrides import TorchFunctionMode

    makers = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}

    class _Weightless(TorchFunctionMode):
        count = size = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if func not in makers:
                return func(*args, **kwargs)
            made = func(*args, **{**kwargs, "device": "meta"})
            self.count, self.size = self.count + 1, self.size + made.numel() * made.element_size()
            if self.count > _MOST_TENSORS or self.size > LIMIT:
                msg = (f"{network['_target_']} with these arguments would take more than {LIMIT >> 30} GiB or "
                       f"{_MOST_TENSORS} tensors; refused")  # fmt: skip
                raise UnsafeModel(msg)
            return made

    with _Weightless():
        module = _made(network, make)
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}
