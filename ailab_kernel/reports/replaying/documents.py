"""A report run again from its record, without its kept cases, and its figures compared."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import AilabError, ReportError
from ailab_kernel.ground.surroundings import surroundings, unlike
from ailab_kernel.models import Models
from ailab_kernel.recipes import find
from ailab_kernel.reports.library import template
from ailab_kernel.reports.report import Report
from ailab_kernel.reports.run import perform
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.pack import unpack_mask

from .comparing import by_label, compare, told
from .outcome import Replay, causes_of, keep

if TYPE_CHECKING:
    from ailab_kernel.ground.catalog import Catalog

_MASKS = "masks"


def replay(
    original: Report,
    *,
    environment: Mapping[str, str],
    verify_inputs: Callable[[Mapping[str, str]], None],
    templates: Path | None = None,
    catalog: "Catalog | None" = None,
) -> Replay:
    """Execute a report again and compare its metrics; a replay stores nothing in the archive.

    Parameters
    ----------
    original
        A report that is done.
    environment
        ``AILAB_*`` variables that open the lab.
    verify_inputs
        Raises when a model or dataset among the resolved digests is no longer what it was.
    templates
        Folder of templates other than the product's.
    catalog
        Keeps the outcome, and has the masks that an inference made, so that they are compared voxel by voxel.

    Raises
    ------
    ReportError
        The original was never finished.
    """
    manifest = original.manifest
    if original.state != "done" or not manifest:
        msg = f"report {original.id} is {original.state}: only a finished report can be replayed"
        raise ReportError(msg)
    verify_inputs(manifest["resolved"])
    wanted = template(manifest["template"], folder=templates)
    number = len(list(original.folder.glob("replays/*"))) + 1
    folder = original.folder / "replays" / str(number)
    folder.mkdir(parents=True)
    values = {**manifest["parameters"], **({"store": False} if "store" in manifest["parameters"] else {})}
    again = perform(Report(f"{original.id}-replay-{number}", folder), wanted, values,
                    resolved=manifest["resolved"], seal=lambda _: "", environment=environment)  # fmt: skip
    masks = list(_masks(original, again, catalog)) if catalog else []
    left_out = {_MASKS} if masks else set()
    figures = compare(*({key: value for key, value in one.metrics.items() if key not in left_out}
                        for one in (original, again)))  # fmt: skip
    differences = (*masks, *(f"metrics.{line}" for line in figures))
    changed = [*(["the template changed"] if wanted.digest != manifest["template_digest"] else []),
               *unlike(manifest, {**surroundings(), "device": environment.get("AILAB_DEVICE", "auto")})]  # fmt: skip
    notes = () if differences else tuple(f"without an effect: {line}" for line in changed)
    done = Replay(original.id, not differences, differences, causes_of(changed) if differences else (), notes=notes,
                  report=again)  # fmt: skip
    return keep(catalog, done, of=_record(catalog, original)) if catalog else done


def _record(catalog: "Catalog", report: Report) -> Any:
    kept = catalog.query("report", name=str(report.manifest["template"]))
    return next((one for one in kept if one.body.get("id") == report.id), None)


def _masks(original: Report, again: Report, catalog: "Catalog") -> Iterator[str]:
    """What changed in the masks of an inference, by series and label."""
    before, now = original.metrics.get(_MASKS), again.metrics.get(_MASKS)
    model = original.manifest["resolved"].get("model")
    if not (isinstance(before, Mapping) and isinstance(now, Mapping) and model):
        return
    labels = find(Models(catalog).find(model).recipe).labels
    for series in sorted({*before, *now}):
        if before.get(series) == now.get(series):
            continue
        try:
            one, other = (unpack_mask(catalog.get(str(found.get(series, "")))) for found in (before, now))
        except AilabError:
            yield f"series {series}: segmented only {'before' if series in before else 'now'}"
            continue
        if not one.grid.matches(other.grid):
            yield f"series {series}: another geometry, {one.grid.shape} voxels before, {other.grid.shape} now"
            continue
        rows = by_label(Mask(one.array, one.grid, labels), Mask(other.array, other.grid, labels), labels)
        yield from (f"series {series}: {line}" for line in told(rows))
