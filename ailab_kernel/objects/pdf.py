"""Encapsulated PDF (PS3.3 A.45.1) out and in: a report that is kept beside the images it is about."""

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from ailab_kernel.dicom.codes import Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.ground.ids import sha256
from ailab_kernel.volumes.volume import Volume

from .provenance import Provenance, settle
from .source import code_item, need_images, reference_items, references, started

_SERIES_NUMBER = 9003
_LONGEST_TITLE = 1024
_MAGIC = b"%PDF-"
_MIME = "application/pdf"
_REPORT = Code("18748-4", "LN", "Diagnostic imaging report")


def write_pdf(pdf: bytes, vol: Volume, provenance: Provenance, *, title: str = "", burned_in: bool = False) -> Dataset:
    """Write a PDF as an object of the source's study that refers to every source image.

    Parameters
    ----------
    pdf
        The file's bytes.
    vol
        The source series, with its headers.
    provenance
        Who made it and when; equal provenance and PDF give equal bytes.
    title
        Document Title (0042,0010); the series description where it is left out.
    burned_in
        Whether the pages show who the patient is: Burned In Annotation (0028,0301).

    Raises
    ------
    ObjectError
        No PDF, or the volume did not come from DICOM.
    DicomError
        Source headers that cannot be carried over.
    """
    need_images(vol, "an encapsulated PDF")
    if not pdf.startswith(_MAGIC):
        msg = f"{len(pdf)} bytes that do not begin with %PDF- are no PDF; give the file's bytes"
        raise ObjectError(msg)
    with guarded(f"headers of series {vol.series_uid}"):
        ds = started(vol, provenance, sop_class=EncapsulatedPDFStorage, modality="DOC", series="pdf series",
                     number=_SERIES_NUMBER)  # fmt: skip
        ds.ConversionType, ds.BurnedInAnnotation = "WSD", "YES" if burned_in else "NO"
        ds.AcquisitionDateTime = None
        ds.DocumentTitle = (title or provenance.series_description or provenance.algorithm)[:_LONGEST_TITLE]
        ds.ConceptNameCodeSequence = [code_item(_REPORT)]
        ds.SourceInstanceSequence = reference_items(references(vol))
        ds.MIMETypeOfEncapsulatedDocument = _MIME
        ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength = pdf + b"\0" * (len(pdf) % 2), len(pdf)
    return settle(ds, provenance, sop_uid=provenance.uid(f"pdf {sha256(pdf)}"))


def read_pdf(ds: Dataset) -> bytes:
    """Return the bytes of an encapsulated PDF, without padding where the header tells their length.

    Raises
    ------
    ObjectError
        Not an encapsulated PDF.
    DicomError
        A malformed object.
    """
    with guarded("encapsulated PDF"):
        data = ds.get("EncapsulatedDocument") or b""
        if ds.get("MIMETypeOfEncapsulatedDocument") != _MIME or not data.startswith(_MAGIC):
            msg = "not an encapsulated PDF; give an object of SOP class Encapsulated PDF Storage"
            raise ObjectError(msg)
        return bytes(data[: int(ds.get("EncapsulatedDocumentLength") or len(data))])
