"""Layouts as a table: how each is known, how it is read, and what its kind can never prove."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.models.bundle import CONFIG, METADATA, README, WEIGHTS, Bundle, bundle_from, kebab, pretty
from ailab_kernel.models.card import card
from ailab_kernel.models.trust import (
    PROGRAMS,
    Source,
    check_fits,
    check_safetensors,
    is_program,
    read_json,
    read_source,
)
from ailab_kernel.models.trust.config import expressions

from .converted import Converted
from .huggingface import is_huggingface, read_huggingface
from .programs import is_program_file, program_kind, read_program
from .tfjs import is_tfjs, read_tfjs

_FILES = "files: plain, within bounds, all inside the model's own folder"
_PARTS = (_FILES, "network: on the list, plain arguments", "weights: finite numbers that fit the network one for one")
_WALLS = (_FILES, "program: opened behind walls, and answers an image with labels for each voxel")
_NEVER = ("how good it is, and on whom: validate it on a dataset of this lab before anybody relies on it",)
_NO_AUTHOR = "who made it: nothing here is signed, and no digest was asked for (--digest)"


@dataclass(frozen=True)
class Imported:
    """A model that was read, not yet kept.

    Attributes
    ----------
    bundle
        As a value.
    layout
        ``monai``, ``huggingface``, ``tfjs``, ``torchscript`` or ``onnx``.
    source
        ``sha256:...`` of what was given.
    checked, unchecked
        What was looked at, and what cannot be known, a line each.
    """

    bundle: Bundle
    layout: str
    source: str
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"layout": self.layout, "source": self.source, "checked": list(self.checked),
                "unchecked": list(self.unchecked)}  # fmt: skip


_Reader = Callable[[Source], Converted]
_LAYOUTS: tuple[tuple[str, Callable[[Source], bool], _Reader], ...] = (
    ("tfjs", is_tfjs, read_tfjs),
    ("huggingface", is_huggingface, read_huggingface),
    ("program", is_program_file, read_program),
)


def read_model(path: Path, *, name: str = "", recipe: str = "", digest: str = "") -> Imported:
    """Read a model from outside in any layout that is known; nothing in it is run in this process.

    Parameters
    ----------
    path
        Folder, zip, ``.ts``, ``.pt`` or ``.onnx`` file.
    name
        Keep it under this name; empty: its own.
    recipe
        The recipe that prepares its input and reads its output; empty: as it says itself, else its name.
    digest
        ``sha256:...`` that the source must have.

    Raises
    ------
    UnsafeModel, ModelError, ModelChanged
        Refused, with the reason.
    """
    source = read_source(path, digest=digest)
    monai = METADATA in source.files or CONFIG in source.files
    layout, read = ("monai", None) if monai else _layout(source)
    if read is None:
        bundle, unchecked = _as_given(source, name, recipe), _left_behind(source)
    else:
        converted = read(source)
        bundle, unchecked = _bundle(source, converted, name=name, recipe=recipe), converted.unchecked
    if read is not read_program:
        _check(bundle)
    layout = program_kind(source) or layout
    author = () if digest else (_NO_AUTHOR,)
    checked = (*(_WALLS if bundle.program else _PARTS), *((f"digest: {digest}",) if digest else ()))
    return Imported(bundle, layout, f"sha256:{source.digest}", checked, (*unchecked, *author, *_NEVER))


def _layout(source: Source) -> tuple[str, _Reader | None]:
    for layout, known, read in _LAYOUTS:
        if known(source):
            return layout, read
    msg = (f"{source.name}: no MONAI bundle (configs/metadata.json), and no other layout that is known: Hugging Face "
           "(config.json), TensorFlow.js (model.json), .ts, .pt or .onnx")  # fmt: skip
    raise ModelError(msg)


def _as_given(source: Source, name: str, recipe: str) -> Bundle:
    """A MONAI bundle; what the asker says of its recipe stands in its metadata, so that it stays when it travels."""
    bundle = bundle_from(source, name=name)
    if recipe in ("", bundle.recipe):
        return bundle
    files = {**source.files, METADATA: pretty({**bundle.metadata, "recipe": recipe})}
    return bundle_from(Source(source.name, files, source.digest), name=bundle.name)


def _left_behind(source: Source) -> tuple[str, ...]:
    configs = [path for path in source.files
               if path.startswith("configs/") and path.endswith(".json") and path != METADATA]  # fmt: skip
    count = sum(expressions(read_json(source.files[path], f"{source.name}: {path}")) for path in configs) - 1
    if count <= 0:
        return ()
    return (f"its own preprocessing and loops: {count} expressions and constructions of its configuration were left "
            "behind, never run; the recipe of this lab decides",)  # fmt: skip


def _bundle(source: Source, converted: Converted, *, name: str, recipe: str) -> Bundle:
    called = name or kebab(str(converted.metadata.get("name", source.name)).replace(".", " "))
    metadata = {
        **converted.metadata, "name": called, "recipe": recipe or converted.metadata.get("recipe", called),
        "made_with": {"source": f"sha256:{source.digest}"}, "unchecked": list(converted.unchecked),
    }  # fmt: skip
    kind = str(converted.network["_target_"]).partition(".")[2]
    place = PROGRAMS[kind] if is_program(converted.network) else WEIGHTS
    files = {METADATA: pretty(metadata), CONFIG: pretty({"network_def": dict(converted.network)}),
             place: converted.data, README: card(metadata).encode()}  # fmt: skip
    return bundle_from(Source(called, files, source.digest), name=called)


def _check(bundle: Bundle) -> None:
    """Weights are the network's own; a program that comes in a bundle answers as the bundle says."""
    if not bundle.program:
        check_fits(bundle.network, check_safetensors(bundle.file(WEIGHTS), bundle.name), bundle=bundle.name)
        return
    found = read_program(Source(bundle.name, {bundle.program: bundle.file(bundle.program)}, ""))
    if dict(found.network) != bundle.network:
        msg = f"bundle {bundle.name}: its program answers as {dict(found.network)}, and not as its network_def says"
        raise ModelError(msg)
