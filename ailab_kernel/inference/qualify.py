"""Does OpenVINO answer like torch, with this model on this machine? Asked once, recorded, and then relied on."""

import json
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.ground.ids import canonical_json, sha256, sha256_file
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.ground.surroundings import processor

from .engine import IR, Engine, TorchEngine, convert, openvino_engine

AGREE, LOOKS = 0.9999, 2
# A voxel whose two best logits are nearer than this is a toss-up for any float32 engine.
TOSS_UP = 1e-2
RECORD = "qualified.json"


@dataclass(frozen=True)
class Verdict:
    """Outcome of one comparison.

    Attributes
    ----------
    engine
        ``openvino`` where the labels agree, else ``torch``.
    agreement
        Share of voxels with the same label, 0 to 1.
    clear_differences
        Voxels with another label although torch's two best logits lie well apart.
    reason
        One line.
    where
        Machine and versions.
    files
        SHA-256 of the converted network's files.
    """

    engine: str
    agreement: float
    clear_differences: int
    reason: str
    where: dict[str, str]
    files: dict[str, str]


def machine() -> dict[str, str]:
    """Return what an answer may depend on: processor, system and library versions."""
    return {"processor": processor(), "machine": platform.machine(), "system": platform.system(),
            "openvino": version("openvino"), "torch": version("torch")}  # fmt: skip


def cpu_engine(
    key: str, load: Callable[[], TorchEngine], *, roi: tuple[int, int, int], cache: Path | None
) -> tuple[Engine, Verdict]:
    """Return the fastest engine that answers like torch on this machine.

    Parameters
    ----------
    key
        Digest of the weights and all else that the answer depends on.
    load
        Builds the torch network; called only when it is needed.
    roi
        (slice, row, column) voxels of the window.
    cache
        Folder for the converted network and the verdict; None asks anew.
    """
    where = machine()
    if cache is None:
        with tempfile.TemporaryDirectory() as folder:
            return _qualify(load(), roi, Path(folder) / "network", where)
    place = cache / sha256(canonical_json({"key": key, "roi": list(roi), **where}))[:24]
    verdict = read_verdict(place)
    if verdict is None:
        shutil.rmtree(place, ignore_errors=True)
        return _qualify(load(), roi, place, where)
    return (openvino_engine(place) if verdict.engine == "openvino" else load()), verdict


def read_verdict(place: Path) -> Verdict | None:
    """Return the recorded verdict, or None where there is none or the converted network changed since."""
    try:
        verdict = Verdict(**json.loads((place / RECORD).read_text(encoding="utf8")))
        return verdict if verdict.files == _digests(place) else None
    except (OSError, ValueError, TypeError):
        return None


def _qualify(reference: TorchEngine, roi: tuple[int, int, int], place: Path,
             where: dict[str, str]) -> tuple[Engine, Verdict]:  # fmt: skip
    """Convert, compare and record."""
    try:
        convert(reference.network, roi, place)
        candidate: Engine = openvino_engine(place)
    except ModelError as error:
        verdict = Verdict("torch", 0.0, 0, str(error), where, {})
        candidate = reference
    else:
        verdict = compare(reference, candidate, roi=roi, where=where, files=_digests(place))
    atomic_write(place / RECORD, canonical_json(asdict(verdict)))
    return (candidate if verdict.engine == "openvino" else reference), verdict


def compare(
    reference: Engine, candidate: Engine, *, roi: tuple[int, int, int], where: dict[str, str], files: dict[str, str]
) -> Verdict:
    """Compare two engines' labels on deterministic images.

    Parameters
    ----------
    reference, candidate
        Torch, and the engine that wants to stand in for it.
    roi
        (slice, row, column) voxels of the window.
    where, files
        Recorded with the verdict.
    """
    same, clear, total = 0, 0, 0
    for look in range(LOOKS):
        window = test_image(roi, seed=look)[None, None]
        truth, answer = reference.run(window)[0], candidate.run(window)[0]
        differs = truth.argmax(0) != answer.argmax(0)
        best = np.partition(truth, -2, axis=0)[-2:]
        clear += int((differs & (best[1] - best[0] > TOSS_UP)).sum())
        same, total = same + int((~differs).sum()), total + differs.size
    agrees = clear == 0 and same >= AGREE * total
    reason = f"{total - same} of {total} voxels differ, {clear} of them clearly"
    return Verdict("openvino" if agrees else "torch", same / total, clear, reason, where, files)


def test_image(roi: tuple[int, int, int], *, seed: int) -> np.ndarray:
    """Return an image with the textures and levels of a body: nested blobs and noise, the same on every machine.

    Parameters
    ----------
    roi
        (slice, row, column) shape.
    seed
        Which image.

    Returns
    -------
    np.ndarray
        float32, 0 to 1, shape ``roi``.
    """
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in roi), indexing="ij", sparse=True)
    image = np.zeros(roi, np.float32)
    for level in (0.75, 0.1, 0.15, 0.8, 0.85, 0.7, 0.95, 0.4):
        middle, radius = random.uniform(-0.5, 0.5, 3), random.uniform(0.15, 0.6, 3)
        image[sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radius, strict=True)) < 1] = level
    return np.clip(image + random.normal(0, 0.03, roi).astype(np.float32), 0, 1)


def _digests(place: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(place.iterdir()) if path.stem == Path(IR).stem}
