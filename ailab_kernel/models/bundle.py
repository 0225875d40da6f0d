"""A MONAI bundle as a value: its network description, its metadata and the digests of its files.

Layout (MONAI Bundle specification): ``configs/metadata.json``, ``configs/inference.json`` with ``network_def``,
``models/model.safetensors``, ``docs/README.md``. Nothing in it is ever run: `trust` reads it as data.
"""

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.catalog import record_digest
from ailab_kernel.ground.errors import ModelChanged, ModelError, SealBroken
from ailab_kernel.ground.ids import check_name, sha256
from ailab_kernel.ground.store import atomic_write

from .card import card
from .trust import check_network, kept_files, plain_network

if TYPE_CHECKING:
    import torch

KIND = "model"
METADATA, CONFIG = "configs/metadata.json", "configs/inference.json"
WEIGHTS, README = "models/model.safetensors", "docs/README.md"


@dataclass(frozen=True)
class Bundle:
    """One version of a model.

    Attributes
    ----------
    name, version
        ``heart-wall`` and 3: together the reference ``heart-wall@3``. Version 0 is a bundle outside any lab.
    body
        The record: ``recipe``, ``network`` (``network_def`` as data), ``metadata``, ``files`` (path to SHA-256).
    parents
        Digests of the records that it was made from (base model, dataset version).
    """

    name: str
    version: int
    body: Mapping[str, Any] = field(repr=False)
    _read: Callable[[str], bytes] = field(repr=False, compare=False)
    parents: tuple[str, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 that names this model by all its content."""
        return record_digest(KIND, self.name, self.body, parents=self.parents)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def recipe(self) -> str:
        """Name of the recipe that prepares its input and reads its output."""
        return self.body["recipe"]

    @property
    def network(self) -> dict[str, Any]:
        """MONAI ``network_def``: ``_target_`` and plain arguments."""
        return dict(self.body["network"])

    @property
    def metadata(self) -> dict[str, Any]:
        """MONAI metadata plus the card's fields."""
        return dict(self.body["metadata"])

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the safetensors file."""
        return self.body["files"][WEIGHTS]

    def file(self, path: str) -> bytes:
        """Bytes of one file of the bundle, checked against the recorded digest.

        Raises
        ------
        ModelChanged
            The stored bytes are no longer the recorded ones.
        """
        expected = self.body["files"][path]
        try:
            data = self._read(path)
        except SealBroken:
            data = b""
        if sha256(data) != expected:
            msg = f"model {self.ref}: {path} changed since it was recorded as {expected[:12]}; re-import it"
            raise ModelChanged(msg)
        return data

    def weights(self) -> "dict[str, torch.Tensor]":
        """State dict of the network, by parameter name, checked against its digest."""
        from safetensors.torch import load

        return load(self.file(WEIGHTS))

    def check(self) -> None:
        """Raise ModelChanged unless every file still has its recorded digest."""
        for path in self.body["files"]:
            self.file(path)

    def save(self, folder: Path) -> Path:
        """Write the bundle's files below ``folder`` and return it."""
        for path in self.body["files"]:
            atomic_write(folder / path, self.file(path))
        return folder

    def _repr_html_(self) -> str:
        rows = {
            "model": self.ref, "recipe": self.recipe, "network": self.network["_target_"],
            "weights": f"sha256 {self.weights_digest[:12]}", "about": self.metadata.get("description", ""),
        }  # fmt: skip
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
        return f"<table>{cells}</table>"


class Bundles(tuple[Bundle, ...]):
    """Models, oldest first; a table in a notebook."""

    def _repr_html_(self) -> str:
        rows = ((one.ref, one.recipe, one.metadata.get("description", "")) for one in self)
        cells = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><tr><th>model</th><th>recipe</th><th>about</th></tr>{cells}</table>"


def read_bundle(folder: Path, *, name: str = "") -> Bundle:
    """Read a bundle folder as data; weights in torch's format are converted in memory, code is never run.

    Raises
    ------
    ModelError
        Not a bundle.
    UnsafeModel
        It would need its own code, a ``$`` expression or a pickle to work.
    """
    files = kept_files(folder)
    try:
        metadata, config = json.loads(files[METADATA]), json.loads(files[CONFIG])
    except KeyError as error:
        msg = f"{folder.name}: no MONAI bundle: {error.args[0]} is missing"
        raise ModelError(msg) from None
    except ValueError:
        msg = f"{folder.name}: no MONAI bundle: its configuration is not valid JSON"
        raise ModelError(msg) from None
    if WEIGHTS not in files:
        msg = f"{folder.name}: no weights; models/model.safetensors or a weights-only models/model.pt is expected"
        raise ModelError(msg)
    called = check_name(name or _kebab(metadata.get("name", folder.name)))
    body = {
        "recipe": metadata.get("recipe", called),
        "network": check_network(plain_network(config), bundle=called),
        "metadata": metadata,
        "files": {path: sha256(data) for path, data in sorted(files.items())},
    }
    return Bundle(called, 0, body, files.__getitem__)


def write_bundle(
    folder: Path,
    *,
    name: str,
    recipe: str,
    network: Mapping[str, Any],
    state_dict: "Mapping[str, torch.Tensor]",
    metadata: Mapping[str, Any],
) -> Path:
    """Write a bundle folder and return it.

    Parameters
    ----------
    folder
        Where to; created.
    name, recipe
        The model's name and the recipe it follows.
    network
        MONAI ``network_def``.
    state_dict
        Parameters by name; stored as contiguous CPU tensors in safetensors.
    metadata
        MONAI metadata and card fields (``description``, ``intended_use``, ``training_data``, ``performance``,
        ``limits``); plain JSON.
    """
    from safetensors.torch import save

    whole = {**metadata, "name": name, "recipe": recipe}
    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(state_dict.items())}
    atomic_write(folder / WEIGHTS, save(tensors))
    atomic_write(folder / METADATA, _pretty(whole))
    atomic_write(folder / CONFIG, _pretty({"network_def": check_network(network, bundle=name)}))
    atomic_write(folder / README, card(whole).encode())
    return folder


def _kebab(text: str) -> str:
    return "-".join(text.lower().replace("_", " ").split())


def _pretty(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
