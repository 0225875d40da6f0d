"""A mask becomes what the archive keeps: a DICOM SEG and a structured report with volumes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from pydicom import Dataset

from ailab_kernel.models import Bundle
from ailab_kernel.objects.pdf import write_pdf
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import write_seg
from ailab_kernel.objects.sr import write_sr
from ailab_kernel.recipes import find
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.view import View, as_html
from ailab_kernel.volumes.volume import Volume

from .page import summary_page


@dataclass(frozen=True, eq=False)
class Results:
    """The objects of one inference: SEG and TID 1500 SR, both referencing the source series.

    ``mask``, ``volume``, ``bundle`` and ``provenance`` are what they were written from; a cell shows the labels
    outlined on the image.
    """

    seg: Dataset = field(repr=False)
    sr: Dataset = field(repr=False)
    mask: Mask
    volume: Volume
    bundle: Bundle = field(repr=False)
    provenance: Provenance = field(repr=False)

    @cached_property
    def pdf(self) -> Dataset:
        """One page for people, as an Encapsulated PDF of the study; written when it is asked for."""
        page = summary_page(self.mask, self.volume, bundle=self.bundle, provenance=self.provenance)
        return write_pdf(page, self.volume, self.provenance, title=f"AI-LAB {self.bundle.ref}")

    def __iter__(self) -> Iterator[Dataset]:
        return iter((self.seg, self.sr))

    def view(self, *, engine: str = "niivue") -> View:
        """Open a viewer in the cell, the labels laid over the image; see `Volume.view`."""
        return self.volume.view(self.mask, engine=engine)

    def _repr_html_(self) -> str:
        return as_html(self.volume, self.mask)


def write_results(mask: Mask, vol: Volume, bundle: Bundle, *, when: datetime, engine: str = "") -> Results:
    """Write the SEG and the SR of a prediction.

    The UIDs are made from the source series, the model, the recipe, the engine and ``when``: the same inference record
    gives the same bytes, and stored twice it is there once; an inference recorded anew is another object.

    Parameters
    ----------
    mask
        On the grid of ``vol``.
    vol
        The source series, with its headers.
    bundle
        The model.
    when
        The job's recorded time; Content Date (0008,0023) and Time (0008,0033).
    engine
        `Predictor.engine`.
    """
    provenance = provenance_of(vol.series_uid, bundle, when=when, engine=engine)
    seg = write_seg(mask, vol, provenance)
    return Results(seg, write_sr(mask, vol, provenance, seg=seg), mask, vol, bundle, provenance)


def provenance_of(series_uid: str, bundle: Bundle, *, when: datetime, engine: str = "") -> Provenance:
    """Return what the objects of an inference say of themselves, and make their UIDs from; see `write_results`."""
    return Provenance(
        algorithm=bundle.name,
        version=str(bundle.version),
        made_from=(series_uid, bundle.ref, bundle.digest, find(bundle.recipe).digest, engine, when.isoformat()),
        when=when,
        kind="AUTOMATIC",
        series_description=f"AI-LAB {bundle.name}@{bundle.version}",
        model_digest=bundle.digest,
    )
