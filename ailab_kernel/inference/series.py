"""One series through one model and back to the archive: the unit of inference work."""

import time
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.datasets.intake import read_series
from ailab_kernel.ground.errors import ArchiveRefused, NotFound
from ailab_kernel.ground.surroundings import lock_text, surroundings
from ailab_kernel.models import Models
from ailab_kernel.volumes.pack import content_digest, pack_mask

from .predict import Predictor
from .results import Results, write_results

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Series
    from ailab_kernel.ground.catalog import Record
    from ailab_kernel.workspace import Workspace

KIND, RESULT = "inference", "result"
_ready: dict[tuple[str, Path, str], Predictor] = {}


def predictor(workspace: "Workspace", digest: str) -> Predictor:
    """Return the ready predictor of a model; a process builds and qualifies it once, whichever archive it works on."""
    key = digest, workspace.cache, workspace.settings.device
    if key not in _ready:
        _ready[key] = Predictor(Models(workspace.catalog).find(digest), cache=workspace.cache,
                                device=workspace.settings.device)  # fmt: skip
    return _ready[key]


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
    vol = read_series(workspace.archive, find_series(workspace, series_uid))
    clock.lap("load")
    engine = predictor(workspace, model)
    mask = engine.predict(vol)
    clock.lap("infer")
    record = workspace.catalog.append(
        KIND, {"series": series_uid, "engine": engine.engine, "mask": workspace.catalog.put(pack_mask(mask))},
        name=series_uid, parents=[model],
    )  # fmt: skip
    results = write_results(mask, vol, engine.bundle, when=datetime.fromisoformat(record.made_at), engine=engine.engine)
    keep_result(workspace, record, results, engine=engine)
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


def keep_result(workspace: "Workspace", record: "Record", results: Results, *, engine: Predictor) -> None:
    """Write down, under the SEG's UID, what a replay asks for: UIDs, the source's content, the surroundings.

    It is a record beside the inference's own: a repeat in other surroundings that gives the same mask is the same
    inference, and the same object in the archive.
    """
    workspace.catalog.put(lock_text())
    body = {
        "study": results.volume.study_uid, "series": results.volume.series_uid,
        "seg_series": str(results.seg.SeriesInstanceUID), "sr": str(results.sr.SOPInstanceUID),
        "source": content_digest(results.volume), "recipe": engine.recipe.digest,
        "surroundings": {**surroundings(), **engine.surroundings},
    }  # fmt: skip
    workspace.catalog.append(RESULT, body, name=str(results.seg.SOPInstanceUID), parents=[record.digest])


def find_series(workspace: "Workspace", series_uid: str) -> "Series":
    """Return a series of the archive; NotFound where it is not there."""
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
