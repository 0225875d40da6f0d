"""What this machine does: its arithmetic speed, and the four workflows on phantoms in a lab of their own.

The phantoms never meet the lab's archive or catalog: everything lies in a scratch folder that is removed afterwards.
"""

import os
import platform
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_kernel.fleet.measured import Measured
from ailab_kernel.fleet.scenario import SCENARIO
from ailab_kernel.ground.errors import ParameterError
from ailab_kernel.ground.progress import say

if TYPE_CHECKING:
    from ailab_kernel.datasets.dataset import DatasetVersion
    from ailab_kernel.models import Bundle
    from ailab_kernel.workspace import Workspace

BASE, STYLE, FIRST_SEED = "heart-wall@general", "general-hospital", 540_000
FULL_SIZE = (100, 512, 512)  # slices, rows, columns of the seed's chest CT, as we take it
_BODY_MM = (300.0, 358.4, 358.4)
_TUNE_CASES = 20  # of the 100 in the seed's scenario, as `ailab demo` splits them
_COUNTS = {row.workflow: row.studies for row in SCENARIO}


@dataclass(frozen=True)
class Speed:
    """Float32 matrix products of this machine.

    Attributes
    ----------
    tflops
        10^12 operations a second, of all devices together.
    device
        What was measured.
    how
        How, in a sentence.
    """

    tflops: float
    device: str
    how: str


def busy_words() -> str:
    """What else kept this machine busy before the measurement; empty when it was quiet."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load <= cores / 2:
        return ""
    return (f"Other work kept the machine busy before this began (load {load:.1f} on {cores} cores): a quiet one is "
            "faster.")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    studies
        Phantoms measured in each workflow; one more warms up.
    size
        (slices, rows, columns) of each.
    epochs
        Of the fine-tuning; the rest is taken to last like the last one.
    """

    studies: int
    size: tuple[int, int, int]
    epochs: int

    @property
    def full_size(self) -> bool:
        """Whether the phantoms are as large as the seed's chest CT."""
        return self.size == FULL_SIZE

    @property
    def words(self) -> str:
        """``512×512×100``."""
        slices, rows, columns = self.size
        return f"{columns}×{rows}×{slices}"


def plan_of(studies: int, size: Sequence[int], epochs: int) -> Plan:
    """Return a checked plan; ParameterError where it cannot be measured."""
    if studies < 2 or epochs < 1 or len(size) != 3 or min(size) < 16:
        msg = (f"measure: {studies} studies of size {list(size)} and {epochs} epochs; 2 studies, three numbers of 16 "
               "or more (slices, rows, columns) and 1 epoch are the least")  # fmt: skip
        raise ParameterError(msg)
    return Plan(studies, (int(size[0]), int(size[1]), int(size[2])), epochs)


def machine() -> str:
    """What the figures are of: processor, cores and memory, without the machine's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    cores = len(os.sched_getaffinity(0))
    name = (names or [platform.machine()])[0]
    return f"{name}, {cores} core{'s' * (cores != 1)}, {memory:.0f} GB of memory, {platform.system()}"


def speed(*, seconds: float = 2.0) -> Speed:
    """Multiply square float32 matrices for some seconds and return the fastest product's speed."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    side = 8192 if gpus else 2048
    device = torch.device("cuda" if gpus else "cpu")
    one, other = (torch.rand(side, side, dtype=torch.float32, device=device) for _ in range(2))
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 4 or time.perf_counter() < until:
        began = time.perf_counter()
        torch.matmul(one, other)
        if gpus:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    each = 2 * side**3 / min(times[1:]) / 1e12
    name = f"{gpus} × {torch.cuda.get_device_name(0)}" if gpus else f"CPU, {torch.get_num_threads()} threads"
    share = f"; one device measured and multiplied by {gpus}" if gpus > 1 else ""
    how = (f"fastest of {len(times) - 1} products of two float32 matrices of {side}×{side}, torch {torch.__version__}, "
           f"on {name}{share}")  # fmt: skip
    return Speed(each * max(gpus, 1), name, how)


@contextmanager
def scratch_lab(folder: Path, plan: Plan) -> "Iterator[tuple[Workspace, list[str]]]":
    """Make the phantoms in a lab of their own, yield its workspace and their series' UIDs, and remove it."""
    from ailab_kernel.workspace import open_workspace

    home = folder / "scratch"
    shutil.rmtree(home, ignore_errors=True)
    try:
        workspace = open_workspace(folder, home=home, archive="folder:archive", catalog="", objects="objects",
                                   service="")  # fmt: skip
        yield workspace, _phantoms(workspace, plan)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _phantoms(workspace: "Workspace", plan: Plan) -> list[str]:
    from ailab_kernel.datasets.phantoms import make_objects
    from ailab_kernel.work.processes import each

    began, count = time.monotonic(), plan.studies + 1
    slice_mm, row_mm, column_mm = (round(all_mm / count, 3) for all_mm, count in zip(_BODY_MM, plan.size, strict=True))
    draw = partial(make_objects, style=STYLE, size=plan.size, spacing_mm=(slice_mm, row_mm, column_mm))
    found = []
    for objects in each(draw, range(FIRST_SEED, FIRST_SEED + count)):
        workspace.archive.store(objects)
        found.append(str(objects[0].SeriesInstanceUID))
    say(f"  {count} phantoms of {plan.words} made in {time.monotonic() - began:.0f} s")
    return found


def workflows(workspace: "Workspace", series: Sequence[str], plan: Plan) -> tuple[Measured, ...]:
    """Measure annotation, fine-tuning, validation and inference, serially, on the phantoms' series.

    The first series warms up; engines are opened before the clock starts (once a machine, once a process).
    """
    from ailab_kernel.annotation.assist import annotate_case
    from ailab_kernel.annotation.task import create_task, get_task
    from ailab_kernel.datasets.dataset import Datasets
    from ailab_kernel.inference.series import infer_series, prepare
    from ailab_kernel.models import Models
    from ailab_kernel.recipes import find
    from ailab_kernel.validation.cases import score_case

    bundle = Models(workspace.catalog).get(BASE)
    prepare(workspace, bundle.digest)
    task = create_task(workspace, find(bundle.recipe), series, assist=bundle.digest)
    annotated = [annotate_case(workspace, task.ref, uid, reader="simulated")["seconds"] for uid in series]
    say(f"  annotated: {_median(annotated):.2f} s a study")
    accepted, datasets = get_task(workspace, task.ref).accepted(), Datasets(workspace.catalog)
    split = {uid: "tune" if uid == series[0] else "train" for uid in series}
    learned = datasets.freeze("measure", accepted, split=split)
    trained = _fine_tuning(workspace, learned, bundle, plan)
    say(f"  fine-tuning: {trained.seconds:.0f} s for the whole of it, extrapolated")
    tested = datasets.freeze("measure-check", accepted, split=(0.0, 0.0, 1.0))
    score = partial(score_case, workspace, models={"model": bundle.digest}, dataset=tested.ref, tolerance_mm=3.0)
    validated = [score(case)["seconds"]["model"] for case in tested.cases]
    inferred = [sum(infer_series(workspace, bundle.digest, uid)["seconds"].values()) for uid in series]
    say(f"  validated: {_median(validated):.2f} s, inferred: {_median(inferred):.2f} s a study")
    serial = {"Annotate": annotated, "Validate": validated, "Infer": inferred}
    return (trained, *(_serial(name, seconds) for name, seconds in serial.items()))


def _median(seconds: Sequence[float]) -> float:
    """Median without the first, which warms up."""
    return statistics.median(seconds[1:])


def _serial(workflow: str, seconds: Sequence[float]) -> Measured:
    count = len(seconds) - 1
    fewer = count < _COUNTS[workflow]
    how = f"median of {count} studies, after one to warm up, multiplied by {_COUNTS[workflow]}" if fewer else ""
    return Measured(workflow=workflow, studies=count, seconds=_median(seconds), how=how)


def _fine_tuning(workspace: "Workspace", data: "DatasetVersion", base: "Bundle", plan: Plan) -> Measured:
    """Time some epochs, and add what the seed's 100 studies ask for: reading, later epochs, more tuning cases."""
    from ailab_kernel.datasets.dataset import Datasets
    from ailab_kernel.recipes import find
    from ailab_kernel.training.loaders import Sample, read_cases
    from ailab_kernel.training.loop import run, tuning_dice
    from ailab_kernel.training.transfer import start

    recipe, datasets = find(base.recipe), Datasets(workspace.catalog)
    samples = {split: [Sample(case.id, partial(datasets.load, case, data.labels)) for case in data.split(split)]
               for split in ("train", "tune")}  # fmt: skip
    began = time.monotonic()
    train, tune = (read_cases(recipe, samples[split], what=f"{split} cases") for split in ("train", "tune"))
    reading = (time.monotonic() - began) / len(data.cases)
    network = start(recipe, base.weights(), seed=7)
    tuning_dice(recipe, network, tune)  # warms up
    began = time.monotonic()
    tuning_dice(recipe, network, tune)
    looking = (time.monotonic() - began) / len(tune)
    ends = [time.monotonic()]
    run(recipe, base.weights(), cases=(train, tune), folder=workspace.home / "training", seed=7, epochs=plan.epochs,
        on_epoch=lambda _: ends.append(time.monotonic()))  # fmt: skip
    epochs = [after - before for before, after in pairwise(ends)]
    total = recipe.fine_tune.epochs
    learning = sum(epochs) + (total - len(epochs)) * epochs[-1]
    whole = reading * _COUNTS["Train"] + learning + total * looking * (_TUNE_CASES - len(tune))
    how = (f"{len(epochs)} of {total} epochs and {len(data.cases)} studies measured; the other epochs taken to last "
           f"like the last one ({epochs[-1]:.1f} s), reading ({reading:.2f} s a study) and choosing the best epoch "
           f"({looking:.2f} s for each of {_TUNE_CASES} studies) multiplied")  # fmt: skip
    return Measured(workflow="Train", studies=len(data.cases), seconds=whole, how=how)
