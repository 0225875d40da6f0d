"""Our metrics beside the best peers, in one interleaved run: ``python -m benchmarks.metrics`` (some 5 minutes).

``python -m benchmarks.metrics quick`` leaves out the two that take longest. The peers' newest releases are put into
``build/peers/metrics``; one process, one thread. Writes the table of times into docs/performance.md and the tables of
figures into docs/metrics.md. Nothing is asserted.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE
from ailab_kernel.validation.calibration import calibration
from ailab_kernel.validation.distances import surface_distances
from ailab_kernel.validation.metrics import dice, score
from ailab_kernel.validation.shape import cl_dice
from ailab_kernel.validation.statistics import auc, proportion
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

ROOT = Path(__file__).parents[1]
PEERS, DOCS = ROOT / "build" / "peers" / "metrics", ROOT / "docs"
PACKAGES = ("surface-distance", "medpy", "seg-metrics", "scikit-learn", "scikit-image", "statsmodels",
            "confidenceinterval")  # fmt: skip
TOLERANCE_MM = 1.0
ROUNDS = 2
SLOW = {"medpy", "seg-metrics"}
Spacing = tuple[float, float, float]
Figures = dict[str, float]
Tool = Callable[[np.ndarray, np.ndarray, Spacing], Figures]
FIGURES = ("dice", "hd95", "hd", "assd", "nsd")
LABEL = Label(1, "one", ANATOMICAL_STRUCTURE)
OURS, WHOLE, DEEPMIND = "AI-LAB", "AI-LAB, all of `score`", "DeepMind surface-distance"


def get_peers() -> None:
    """Install the peers once, and let them be imported after everything of ours."""
    if not (PEERS / "done").is_file():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
                        PEERS, "--constraint", ROOT / "requirements.lock", *PACKAGES],
                       check=True, stderr=subprocess.DEVNULL)  # fmt: skip
        (PEERS / "done").touch()
    sys.path.append(str(PEERS))


def ball(shape: tuple[int, int, int], center_mm: Spacing, radius_mm: float, *, spacing: Spacing) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum((a * mm - c) ** 2 for a, c, mm in zip(axes, center_mm, spacing, strict=True)) <= radius_mm**2


def cases() -> dict[str, tuple[np.ndarray, np.ndarray, Spacing]]:
    """Prediction, truth and spacing by title."""
    even, flat = (1.0, 1.0, 1.0), (3.0, 0.8, 0.8)
    small = [np.zeros((256, 256, 256), bool) for _ in range(2)]
    small[0][100:110, 102:112, 100:110] = small[1][100:110, 100:110, 100:110] = True
    wide, box = (256, 256, 256), (86, 320, 320)
    return {
        "spheres of 60 mm, 3 mm apart, 256³ of 1 mm": (ball(wide, (128, 128, 131), 60, spacing=even),
                                                       ball(wide, (128, 128, 128), 60, spacing=even), even),
        "the same, 86×320×320 of 3×0.8×0.8 mm": (ball(box, (128, 128, 131), 60, spacing=flat),
                                                 ball(box, (128, 128, 128), 60, spacing=flat), flat),
        "a lesion of 10³ voxels, 2 mm apart, 256³": (*small, even),
    }  # fmt: skip


def ours(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    found = surface_distances(one, other, spacing)
    return {"dice": dice(one, other), "hd95": found.hausdorff(95), "hd": found.hausdorff(100), "assd": found.mean(),
            "nsd": found.surface_dice(TOLERANCE_MM)}  # fmt: skip


def whole(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    grid = Grid(one.shape, np.diag([*spacing, 1.0]))
    masks = (Mask(array.view(np.uint8), grid, (LABEL,)) for array in (one, other))
    return score(*masks, tolerance_mm=TOLERANCE_MM)["one"]


def monai(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    hot = [torch.from_numpy(array)[None, None].float() for array in (one, other)]
    told = {"include_background": True, "spacing": list(spacing)}
    return {
        "dice": float(compute_dice(*hot, include_background=True)),
        "hd95": float(compute_hausdorff_distance(*hot, percentile=95, **told)),
        "hd": float(compute_hausdorff_distance(*hot, **told)),
        "assd": float(compute_average_surface_distance(*hot, symmetric=True, **told)),
        "nsd": float(compute_surface_dice(*hot, [TOLERANCE_MM], **told)),
    }


def monai_subvoxel(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    import torch
    from monai.metrics import compute_surface_dice

    hot = [torch.from_numpy(array)[None, None].float() for array in (one, other)]
    told = {"include_background": True, "spacing": list(spacing), "use_subvoxels": True}
    return {"nsd": float(compute_surface_dice(*hot, [TOLERANCE_MM], **told))}


def deepmind(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    import surface_distance as sd

    found = sd.compute_surface_distances(other, one, spacing)
    there, back = (found[f"surfel_areas_{name}"].sum() for name in ("gt", "pred"))
    means = sd.compute_average_surface_distance(found)
    return {
        "dice": float(sd.compute_dice_coefficient(other, one)),
        "hd95": float(sd.compute_robust_hausdorff(found, 95)),
        "hd": float(sd.compute_robust_hausdorff(found, 100)),
        "assd": float((means[0] * there + means[1] * back) / (there + back)),
        "nsd": float(sd.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)),
    }


def medpy(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    from medpy.metric import binary

    return {"dice": float(binary.dc(one, other)), "hd95": float(binary.hd95(one, other, spacing)),
            "hd": float(binary.hd(one, other, spacing)), "assd": float(binary.assd(one, other, spacing))}  # fmt: skip


def seg_metrics(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> Figures:
    from seg_metrics.seg_metrics import computeQualityMeasures

    found = computeQualityMeasures(one.astype(np.uint8), other.astype(np.uint8), np.array(spacing[::-1]),
                                   {"dice", "hd", "hd95", "msd"})  # fmt: skip
    return {"dice": float(found["dice"]), "hd95": float(found["hd95"]), "hd": float(found["hd"]),
            "assd": float(found["msd"])}  # fmt: skip


TOOLS: Mapping[str, tuple[Tool, str]] = {
    OURS: (ours, ""), WHOLE: (whole, ""), "MONAI": (monai, "monai"), "MONAI use_subvoxels": (monai_subvoxel, "monai"),
    DEEPMIND: (deepmind, "surface-distance"), "medpy": (medpy, "medpy"), "seg-metrics": (seg_metrics, "seg-metrics"),
}  # fmt: skip


def chosen() -> Mapping[str, tuple[Tool, str]]:
    """Return the tools of this run."""
    return {name: tool for name, tool in TOOLS.items() if name not in SLOW or "quick" not in sys.argv}


def measure(pair: tuple[np.ndarray, np.ndarray, Spacing]) -> dict[str, tuple[float, Figures]]:
    """Least processor time, s, and figures of every tool on one pair; a round is each tool once.

    All run in one thread, so that on a quiet machine it is the time that passes; on a busy one it changes least.
    """
    best: dict[str, tuple[float, Figures]] = {}
    for _ in range(ROUNDS):
        for name, (tool, _) in chosen().items():
            started = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                found = tool(*pair)
            took = time.process_time() - started
            best[name] = (min(took, best.get(name, (took,))[0]), found)
            sys.stderr.write(f"{took * 1000:10,.1f} ms {name}\n")
    return best


def titled(name: str) -> str:
    package = TOOLS[name][1]
    return f"{name} {version(package)}" if package else name


def speed(found: Mapping[str, dict[str, tuple[float, Figures]]]) -> str:
    lines = ["| masks | tool | figures | ms | time over ours |", "|---|---|---|---|---|"]
    for title, tools in found.items():
        base = tools[OURS][0]
        lines += [f"| {title} | {titled(name)} | {len(figures)} | {took * 1000:,.1f} | {took / base:.2f} |"
                  for name, (took, figures) in tools.items()]  # fmt: skip
    return "\n".join(lines) + "\n"


def figures(found: Mapping[str, dict[str, tuple[float, Figures]]]) -> str:
    lines = [
        "| masks | tool | Dice | HD95, mm | HD, mm | ASSD, mm | surface Dice, 1 mm |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, tools in found.items():
        lines += [f"| {title} | {titled(name)} | {' | '.join(_cell(one.get(key)) for key in FIGURES)} |"
                  for name, (_, one) in tools.items() if name != WHOLE]  # fmt: skip
        apart = max(abs(tools[OURS][1][key] - tools[DEEPMIND][1][key]) for key in FIGURES)
        lines.append(f"| {title} | *ours and DeepMind's differ by at most* | {apart:.0e} | | | | |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def beside() -> str:
    """What is not a surface, beside the library that is known for it: ours, theirs, largest difference."""
    random = np.random.default_rng(8)
    truth = random.random(400) < 0.4
    values = np.clip(random.normal(0.35 + 0.25 * truth, 0.2), 0, 1)
    rows = [*_calibrations(values, truth), *_areas(values, truth), *_shares(), _tubes()]
    lines = ["| figure | beside | ours | theirs | difference |", "|---|---|---|---|---|"]
    lines += [
        f"| {what} | {peer} {version(peer)} | {a:.6f} | {b:.6f} | {abs(a - b):.0e} |" for what, peer, a, b in rows
    ]
    return "\n".join(lines) + "\n"


def _calibrations(values: np.ndarray, truth: np.ndarray) -> list[tuple[str, str, float, float]]:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    mine, peer = calibration(values.tolist(), truth.tolist()), "scikit-learn"
    rows = [("Brier score", peer, mine.brier, float(brier_score_loss(truth, values)))]
    for title, strategy, error in (("equal width", "uniform", mine.ece), ("equal size", "quantile", mine.ece_mass)):
        observed, predicted = calibration_curve(truth, values, n_bins=10, strategy=strategy)
        edges = np.linspace(0, 1, 11) if strategy == "uniform" else np.percentile(values, np.linspace(0, 100, 11))
        inside = np.bincount(np.searchsorted(edges[1:-1], values), minlength=10)
        theirs = float((inside[inside > 0] * abs(observed - predicted)).sum() / len(values))
        rows.append((f"ECE, ten bins of {title} (theirs: from `calibration_curve`)", peer, error, theirs))
    return rows


def _areas(values: np.ndarray, truth: np.ndarray) -> list[tuple[str, str, float, float]]:
    from confidenceinterval import roc_auc_score as with_interval
    from sklearn.metrics import roc_auc_score

    mine = auc(values.tolist(), truth.tolist())
    area, (low, high) = with_interval(truth.astype(int).tolist(), values.tolist(), confidence_level=0.95)
    error = (high - low) / 2 / 1.959963984540054
    return [("AUC", "scikit-learn", mine.value, float(roc_auc_score(truth, values))),
            ("AUC", "confidenceinterval", mine.value, float(area)),
            ("DeLong's standard error", "confidenceinterval", mine.error, float(error))]  # fmt: skip


def _shares() -> list[tuple[str, str, float, float]]:
    from statsmodels.stats.proportion import proportion_confint

    mine, peer = proportion(45, 50), "statsmodels"
    wilson, exact = (proportion_confint(45, 50, method=name) for name in ("wilson", "beta"))
    return [("Wilson's lower end of 45 of 50", peer, mine.low, float(wilson[0])),
            ("Clopper and Pearson's lower end of 45 of 50", peer, mine.exact_low, float(exact[0]))]  # fmt: skip


def _tubes() -> tuple[str, str, float, float]:
    """A bent tube against a thinner one with a gap; the thinning differs, so the figures need not be equal."""
    from skimage.morphology import skeletonize

    way = [(40 + 20 * np.sin(t), 45 + 25 * np.cos(t), 10 + 60 * t / 6) for t in np.linspace(0, 6, 200)]
    masks = [np.zeros((80, 90, 80), bool) for _ in range(2)]
    for mask, radius, points in zip(masks, (3.5, 5.0), (way[:70] + way[95:], way), strict=True):
        for point in points:
            mask |= ball((80, 90, 80), point, radius, spacing=(1.0, 1.0, 1.0))
    lines = [skeletonize(mask).astype(bool) for mask in masks]
    shares = [
        np.count_nonzero(line & mask) / np.count_nonzero(line) for line, mask in zip(lines, masks[::-1], strict=True)
    ]
    return "clDice of a tube with a gap", "scikit-image", cl_dice(*masks), 2 * shares[0] * shares[1] / sum(shares)


def put(page: Path, mark: str, body: str) -> None:
    """Put a table between its marks on a page of the docs."""
    begin, end = f"<!-- {mark}: written by benchmarks/metrics.py -->\n", f"<!-- {mark}: end -->\n"
    found = re.search(f"{re.escape(begin)}.*{re.escape(end)}", page.read_text(), re.DOTALL)
    if not found:
        sys.stderr.write(f"{page.name} has no place for {mark}: its table is not kept\n")
        return
    page.write_text(page.read_text().replace(found.group(), f"{begin}\n{body}\n{end}"))


def main() -> None:
    """Measure, print and keep the tables."""
    get_peers()
    import SimpleITK
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    tiny = tuple(
        array[95:120, 95:120, 95:120].copy() for array in cases()["a lesion of 10³ voxels, 2 mm apart, 256³"][:2]
    )
    for tool, _ in chosen().values():
        with contextlib.redirect_stdout(io.StringIO()):
            tool(*tiny, (1.0, 1.0, 1.0))  # everything is imported before the clock starts
    found = {title: measure(pair) for title, pair in cases().items()}
    tables = {"metric-times": speed(found), "metric-figures": figures(found), "metric-peers": beside()}
    print(f"load {os.getloadavg()[0]:.1f}", *tables.values(), sep="\n")
    put(DOCS / "performance.md", "metric-times", tables["metric-times"])
    for mark in ("metric-figures", "metric-peers"):
        put(DOCS / "metrics.md", mark, tables[mark])


if __name__ == "__main__":
    main()
