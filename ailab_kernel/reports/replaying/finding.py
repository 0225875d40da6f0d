"""From a SEG's UID back to what it was made from, by the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.inference.results import provenance_of
from ailab_kernel.inference.series import KIND, RESULT
from ailab_kernel.models import Bundle, Models


@dataclass(frozen=True)
class Made:
    """A SEG and the inference that made it.

    Attributes
    ----------
    seg
        SOP Instance UID (0008,0018).
    inference
        Its record: source series, engine, mask.
    bundle
        The model.
    told
        What was kept of the result: UIDs, the source's digest, surroundings; empty where AI-LAB was older than that.
    """

    seg: str
    inference: Record
    bundle: Bundle
    told: Mapping[str, Any]

    @property
    def series(self) -> str:
        """Series Instance UID (0020,000E) of the source."""
        return str(self.inference.body["series"])

    @property
    def engine(self) -> str:
        """Name of the engine that answered."""
        return str(self.inference.body["engine"])

    @property
    def when(self) -> datetime:
        """The recorded time, which is in the UIDs."""
        return datetime.fromisoformat(self.inference.made_at)

    @property
    def surroundings(self) -> Mapping[str, Any]:
        """What it was made in; the engine at least."""
        return self.told.get("surroundings", {"engine": self.engine})

    @property
    def seg_series(self) -> str:
        """Series Instance UID of the SEG itself."""
        return str(self.told.get("seg_series") or
                   provenance_of(self.series, self.bundle, when=self.when, engine=self.engine).uid("seg series"))


def find_made(catalog: Catalog, seg_uid: str) -> Made:
    """Return what a SEG was made from.

    Raises
    ------
    NotFound
        No inference of this lab made it.
    """
    models = Models(catalog)
    for kept in catalog.query(RESULT, name=seg_uid):  # the oldest is the one that made the object
        for inference in catalog.query(KIND, digest=next(iter(kept.parents), "none")):
            return Made(seg_uid, inference, models.find(inference.parents[0]), kept.body)
    known: dict[str, Bundle] = {}
    for inference in catalog.query(KIND):      # of an older AI-LAB: the UID follows from the record
        digest = inference.parents[0]
        bundle = known[digest] = known.get(digest) or models.find(digest)
        made = Made(seg_uid, inference, bundle, {})
        if provenance_of(made.series, bundle, when=made.when, engine=made.engine).uid("seg") == seg_uid:
            return made
    msg = (f"no inference of this lab made a SEG {seg_uid}: what a person drew or another lab made cannot be run "
           "again here; take the SOP Instance UID (0008,0018) of a SEG that ailab infer stored")  # fmt: skip
    raise NotFound(msg)
