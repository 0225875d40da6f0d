"""A SEG of the archive made again from its record, and compared voxel by voxel."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ailab_kernel.datasets.intake import read_series
from ailab_kernel.ground.errors import AilabError, NotFound, WrongUse
from ailab_kernel.ground.surroundings import surroundings, unlike
from ailab_kernel.inference import Predictor, write_results
from ailab_kernel.inference.series import find_series
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.recipes import find
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.pack import content_digest, unpack_mask

from .comparing import by_label, told
from .finding import Made, find_made
from .outcome import Replay, causes_of, keep

if TYPE_CHECKING:
    from ailab_kernel.volumes.volume import Volume
    from ailab_kernel.workspace import Workspace

# Device and engine to ask `Predictor` for, by an engine's name in records.
ENGINES: Mapping[str, tuple[str, str]] = {"openvino": ("cpu", "auto"), "torch": ("cpu", "torch"),
                                          "torch-cuda": ("cuda", "torch")}  # fmt: skip


def replay_seg(workspace: "Workspace", seg_uid: str, *, engine: str = "") -> Replay:
    """Run the inference again that made a SEG, and compare; nothing is stored in the archive.

    Parameters
    ----------
    workspace
        The lab: archive, ledger, models.
    seg_uid
        SOP Instance UID (0008,0018).
    engine
        ``openvino``, ``torch`` or ``torch-cuda``; empty: the one that answered then, where this machine has it.

    Raises
    ------
    NotFound
        No inference of this lab made it, or its source is no longer in the archive.
    ModelChanged
        The model's files are no longer what they were.
    """
    made = find_made(workspace.catalog, seg_uid)
    made.bundle.check()
    recipe, vol = find(made.bundle.recipe), read_series(workspace.archive, find_series(workspace, made.series))
    kept = unpack_mask(workspace.catalog.get(str(made.inference.body["mask"])))
    before = Mask(kept.array, kept.grid, recipe.labels)
    if engine and engine not in ENGINES:
        msg = f"engine {engine!r}: one of {', '.join(ENGINES)} is expected"
        raise WrongUse(msg)
    predictor = _predictor(workspace, made, engine or made.engine)
    after = predictor.predict(vol)
    changed = [*_inputs(made, vol, recipe.digest),
               *unlike(made.surroundings, {**surroundings(), **predictor.surroundings})]  # fmt: skip
    notes = [_in_archive(workspace, made, vol, before)]
    if before.grid.matches(vol.grid):
        rows = by_label(before, after, recipe.labels)
        differences = tuple(told(rows))
    else:
        rows = ()
        differences = (f"the series has another geometry: {before.grid.shape} voxels then, {vol.grid.shape} now",)
    if differences:
        notes += _shown_by(workspace, made, vol, before) if predictor.engine != made.engine else []
        done = Replay(seg_uid, False, differences, causes_of(changed), rows, tuple(notes))
    else:
        uid = str(write_results(after, vol, made.bundle, when=made.when, engine=predictor.engine).seg.SOPInstanceUID)
        notes += [_uid(uid == seg_uid), *(f"without an effect: {line}" for line in changed)]
        done = Replay(seg_uid, True, labels=rows, notes=tuple(notes))
    return keep(workspace.catalog, done, of=made.inference)


def _predictor(workspace: "Workspace", made: Made, wanted: str) -> Predictor:
    """The wanted engine, or what this machine has instead; which one answered is told with the outcome.

    A network that is a program itself has an engine of its own, whatever is asked for.
    """
    device, way = ENGINES.get(wanted, ("auto", "auto"))
    if device == "cuda" and not _has_gpu():
        device = "cpu"
    return Predictor(made.bundle, cache=workspace.cache, device=device, engine=way)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _inputs(made: Made, vol: "Volume", recipe: str) -> Iterator[str]:
    """What changed of what it was made from; the model was checked by its digest."""
    if made.told.get("source", content_digest(vol)) != content_digest(vol):
        yield "the data: the series in the archive is not what it was; its voxels, place or rescaling changed"
    if made.told.get("recipe", recipe) != recipe:
        yield f"the recipe {made.bundle.recipe}: its labels, transforms or rules changed"


def _in_archive(workspace: "Workspace", made: Made, vol: "Volume", before: Mask) -> str:
    """Whether the archive still holds what the ledger says was stored."""
    try:
        found = workspace.archive.search_series(vol.study_uid, series=made.seg_series)
        stored = next((ds for one in found for ds in workspace.archive.retrieve(one)
                       if ds.SOPInstanceUID == made.seg), None)  # fmt: skip
        if stored is None:
            return "the archive no longer has the SEG: compared with the mask that the ledger keeps"
        same = (read_seg(stored, vol.grid).array == before.array).all()
    except NotFound:
        return "the archive no longer has the SEG: compared with the mask that the ledger keeps"
    except AilabError as error:
        return f"the SEG in the archive cannot be laid on its series ({error}): compared with the ledger's mask"
    if same:
        return "the SEG in the archive is what was stored"
    return "the SEG in the archive is not what was stored: somebody changed it; compared with the ledger's mask"


def _shown_by(workspace: "Workspace", made: Made, vol: "Volume", before: Mask) -> list[str]:
    """What a second run shows, by the engine of then: whether the engine alone is the cause."""
    then = _predictor(workspace, made, made.engine)
    if then.engine != made.engine:
        return [f"this machine cannot answer by {made.engine}, so the engine was not told apart from the rest"]
    if (then.predict(vol).array == before.array).all():
        return [f"a second run by {made.engine}, as then, gives every voxel as it was: the engine is the cause"]
    return [f"a second run by {made.engine}, as then, differs as well: the engine is not the only cause"]


def _uid(same: bool) -> str:
    if same:
        return "made with the recorded time it has the same UID"
    return "made now it would have another UID, since what goes into the UID changed"
