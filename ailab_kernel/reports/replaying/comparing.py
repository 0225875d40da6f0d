"""What differs between before and now: figures by place, masks by label."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ailab_kernel.volumes.masks import Label, Mask


def compare(before: Any, after: Any, *, at: str = "") -> list[str]:
    """Return one line for each place where two JSON values differ; of numbers, by how much."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({*before, *after})
        return [line for key in keys for line in compare(before.get(key), after.get(key), at=f"{at}.{key}".strip("."))]
    both_nan = before != before and after != after
    if before == after or both_nan:
        return []
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, after))
    return [f"{at}: {before} before, {after} now{f' ({after - before:+.6g})' if numbers else ''}"]


def by_label(before: Mask, now: Mask, labels: tuple[Label, ...]) -> tuple[dict[str, Any], ...]:
    """Return for each label how two masks on one grid agree; see `Replay.labels`."""
    return tuple(_row(before, now, label) for label in labels)


def told(rows: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    """Yield one line for each label that changed."""
    for row in rows:
        if row["changed"]:
            yield (f"{row['label']}: Dice {row['dice']:.6f}; {row['voxels_before']} voxels before, "
                   f"{row['voxels_now']} now, {row['changed']} of them others; {row['ml_before']:.2f} ml before, "
                   f"{row['ml_now']:.2f} ml now ({row['ml_now'] - row['ml_before']:+.3g})")  # fmt: skip


def _row(before: Mask, now: Mask, label: Label) -> dict[str, Any]:
    one, other = before.where(label), now.where(label)
    voxels, others, ml = int(one.sum()), int(other.sum()), before.grid.voxel_ml
    changed = int(np.count_nonzero(one != other))
    total = voxels + others
    return {"label": label.name, "dice": (total - changed) / total if total else 1.0, "voxels_before": voxels,
            "voxels_now": others, "changed": changed, "ml_before": voxels * ml, "ml_now": others * ml}  # fmt: skip
