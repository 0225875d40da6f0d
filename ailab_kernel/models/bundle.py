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
from .trust import (
    PROGRAMS,
    Source,
    as_safetensors,
    check_metadata,
    check_network,
    check_safetensors,
    is_program,
    plain_network,
    read_json,
    read_source,
)

if TYPE_CHECKING:
    import torch

KIND = "model"
METADATA, CONFIG = "configs/metadata.json", "configs/inference.json"
WEIGHTS, README = "models/model.safetensors", "docs/README.md"
CHECKPOINT = "models/model.pt"


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
        """SHA-256 of the file that the network gets its numbers from."""
        return self.body["files"][self._numbers]

    @property
    def program(self) -> str:
        """Path of the program that the network is (TorchScript, ONNX); empty for one that is built from its parts."""
        return self._numbers if is_program(self.network) else ""

    @property
    def _numbers(self) -> str:
        return PROGRAMS[self.network["_target_"].partition(".")[2]] if is_program(self.network) else WEIGHTS

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
        """State dict of the network, by parameter name, checked against its digest.

        Raises
        ------
        ModelError
            The network is a program, which holds its weights itself.
        """
        from safetensors.torch import load

        if self.program:
            msg = f"model {self.ref} is a program ({self.program}): it has no weights to read, and runs behind walls"
            raise ModelError(msg)

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
    return bundle_from(read_source(folder), name=name)


def bundle_from(source: Source, *, name: str = "") -> Bundle:
    """Return the bundle that files in MONAI's layout make; raises as `read_bundle`.

    Of its configuration a lab keeps the metadata and ``network_def``; everything else in it (expressions, loaders,
    training) is left behind, so that nobody who gets the bundle from here can run it either.
    """
    files, config = source.files, {}
    for path in (METADATA, CONFIG):
        if path not in files:
            msg = f"{source.name}: no MONAI bundle: {path} is missing"
            raise ModelError(msg)
        config[path] = read_json(files[path], f"{source.name}: no MONAI bundle: {path}")
    metadata = check_metadata(config[METADATA], f"bundle {source.name}: {METADATA}")
    called = check_name(name or kebab(str(metadata.get("name", source.name))))
    network = check_network(plain_network(config[CONFIG]), bundle=called)
    kept = {
        **{path: data for path, data in files.items() if _is_document(path)},
        METADATA: files[METADATA],
        CONFIG: pretty({"network_def": network}),
        **_weights(source, network, called),
    }
    body = {
        "recipe": str(metadata.get("recipe", called)),
        "network": network,
        "metadata": metadata,
        "files": {path: sha256(data) for path, data in sorted(kept.items())},
    }
    return Bundle(called, 0, body, kept.__getitem__)


def _is_document(path: str) -> bool:
    return path == "LICENSE" or (path.startswith("docs/") and path.endswith((".md", ".txt", "LICENSE")))


def _weights(source: Source, network: Mapping[str, Any], called: str) -> dict[str, bytes]:
    """The one file that the network gets its numbers from: safetensors, or the program that it is."""
    files = source.files
    if is_program(network):
        program = PROGRAMS[network["_target_"].partition(".")[2]]
        if program not in files:
            msg = f"{source.name}: no weights; {program} is expected"
            raise ModelError(msg)
        return {program: files[program]}
    if WEIGHTS in files:
        check_safetensors(files[WEIGHTS], called)
        return {WEIGHTS: files[WEIGHTS]}
    if CHECKPOINT in files:
        data = as_safetensors(files[CHECKPOINT], bundle=source.name, path=CHECKPOINT)
        check_safetensors(data, called)
        return {WEIGHTS: data}
    msg = f"{source.name}: no weights; models/model.safetensors or a weights-only models/model.pt is expected"
    raise ModelError(msg)


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
    atomic_write(folder / METADATA, pretty(whole))
    atomic_write(folder / CONFIG, pretty({"network_def": check_network(network, bundle=name)}))
    atomic_write(folder / README, card(whole).encode())
    return folder


def kebab(text: str) -> str:
    """Return a text as a name is written: lower-case words joined by ``-``."""
    return "-".join(text.lower().replace("_", " ").split())


def pretty(value: Mapping[str, Any]) -> bytes:
    """Return JSON as a bundle's files hold it."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
