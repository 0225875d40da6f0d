"""One series through one model and back to the archive: the unit of inference work."""

import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ailab_kernel.datasets.intake import read_series
from ailab_kernel.ground.errors import ArchiveRefused, NotFound
from ailab_kernel.models import Models
from ailab_kernel.volumes.pack import pack_mask

from .predict import Predictor
from .results import write_results

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Series
    from ailab_kernel.workspace import Workspace

KIND = "inference"


@cache
def predictor(workspace: "Workspace", digest: str) -> Predictor:
    """Return the ready predictor of a model; a process builds and qualifies it once."""
    bundle = Models(workspace.catalog).find(digest)
    return Predictor(bundle, cache=workspace.cache, device=workspace.settings.device)


def prepare(workspace: "Workspace", *models: str) -> str:
    """Load what processing needs, so that it is not counted as processing, and return the last engine's name.

    A model's engine is made once a machine (converted, and compared with torch) and opened once a process, which also
    imports the libraries.

    Parameters
    ----------
    workspace
        Catalog and cache.
    models
        Digests of the models' records; empty ones are passed over.
    """
    name = ""
    for digest in filter(None, models):
        name = predictor(workspace, digest).engine
        for library in ("monai.inferers", "highdicom.sr"):
            import_module(library)
    return name


def infer_series(
    workspace: "Workspace", model: str, series_uid: str, *, store: bool = True, page: bool = False
) -> Mapping[str, Any]:
    """Segment one series, keep the mask and, when ``store`` is set, put SEG and SR beside the series.

    Parameters
    ----------
    workspace
        Archive and catalog.
    model
        Digest of the model's record.
    series_uid
        SeriesInstanceUID (0020,000E).
    store
        Whether the results go to the archive; a repeat is byte-equal and duplicates nothing.
    page
        Whether a PDF of one page goes with them.

    Returns
    -------
    dict
        JSON values: UIDs, ``volumes_ml`` by label, ``mask`` (digest), ``seconds`` by stage.
    """
    clock = _Clock()
    vol = read_series(workspace.archive, _series(workspace, series_uid))
    clock.lap("load")
    engine = predictor(workspace, model)
    mask = engine.predict(vol)
    clock.lap("infer")
    record = workspace.catalog.append(
        KIND, {"series": series_uid, "engine": engine.engine, "mask": workspace.catalog.put(pack_mask(mask))},
        name=series_uid, parents=[model],
    )  # fmt: skip
    results = write_results(mask, vol, engine.bundle, when=datetime.fromisoformat(record.made_at), engine=engine.engine)
    objects = (*results, results.pdf) if page else tuple(results)
    clock.lap("write")
    if store:
        _deliver(workspace, *objects)
        clock.lap("store")
    return {
        "series": series_uid, "study": vol.study_uid, "mask": record.body["mask"], "engine": engine.engine,
        "seg": str(results.seg.SOPInstanceUID), "sr": str(results.sr.SOPInstanceUID),
        "volumes_ml": mask.volumes_ml(), "slices": vol.grid.shape[0], "seconds": clock.laps,
    }  # fmt: skip


def _deliver(workspace: "Workspace", *objects: Any) -> None:
    stored = workspace.archive.store(objects)
    if stored.refused:
        msg = f"the archive refused {stored.refused[0].what}: {stored.refused[0].reason}"
        raise ArchiveRefused(msg)


def _series(workspace: "Workspace", series_uid: str) -> "Series":
    found = workspace.archive.search_series(series=series_uid)
    if not found:
        msg = f"series {series_uid} is not in the archive {workspace.archive.url}"
        raise NotFound(msg)
    return found[0]


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.laps[stage], self._last = round(now - self._last, 4), now
