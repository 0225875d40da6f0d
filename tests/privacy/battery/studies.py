"""Made-up people and their studies: CT, MR, US, SEG, SR, RTSTRUCT and PR objects that are valid and refer to each other."""

import random
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.uid import CTImageStorage, MRImageStorage, RTStructureSetStorage, UltrasoundImageStorage

from ailab_kernel.dicom.codes import CARDIAC_CHAMBER, MYOCARDIUM
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import write_seg
from ailab_kernel.objects.sr import write_sr
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.series import volume_from_datasets
from tests.objects.drawings import encoded
from tests.volumes.synthetic import grid, series

ROOT = "1.2.826.0.1.3680043.10.7777"           # of every planted UID, and of nothing else
PLACE = grid(shape=(3, 10, 12))
LABELS = (Label(1, "heart-wall", MYOCARDIUM), Label(2, "heart-cavity", CARDIAC_CHAMBER))
SYLLABLES = ("bra", "cho", "dru", "fel", "gri", "jov", "kal", "mur", "nez", "pol", "rud", "tov", "vax", "wim", "yor", "zul")


@dataclass(frozen=True)
class Person:
    """A made-up patient; all that is theirs follows from two numbers."""

    seed: int
    number: int

    def word(self, what: str, syllables: int = 3) -> str:
        """A word that stands nowhere else: the same for the same person and purpose."""
        chance = random.Random(f"{self.seed}/{self.number}/{what}")
        return "".join(chance.choice(SYLLABLES) for _ in range(syllables))

    def day(self, what: str) -> date:
        """A day of 2011 to 2023."""
        return date(2011, 1, 1) + timedelta(random.Random(f"{self.seed}/{self.number}/{what}").randrange(4700))

    def uid(self, what: str) -> str:
        """A UID under :data:`ROOT`."""
        return f"{ROOT}.{self.number}.{random.Random(f'{self.seed}/{self.number}/{what}').randrange(10**9, 10**10)}"

    @cached_property
    def last(self) -> str:
        """Family name."""
        return self.word("last").capitalize()

    @cached_property
    def id(self) -> str:
        """PatientID."""
        return f"{self.word('id', 2).upper()}-{4000 + self.number}"

    @property
    def header(self) -> dict[str, str]:
        """What a scanner writes of the patient and the study."""
        studied = self.day("study").strftime("%Y%m%d")
        return {
            "PatientName": f"{self.last}^{self.word('first').capitalize()}", "PatientID": self.id, "PatientSex": "F",
            "PatientBirthDate": f"19{31 + self.number % 50}0417", "PatientAge": "057Y", "PatientWeight": "61.5",
            "AccessionNumber": self.word("accession").upper(), "StudyID": self.word("study id").upper(),
            "ReferringPhysicianName": f"{self.word('referring').capitalize()}^Ann", "StudyDate": studied,
            "StudyTime": "101500", "ContentDate": studied, "ContentTime": "101730", "SeriesDate": studied,
            "SeriesTime": "101600", "AcquisitionDate": studied, "AcquisitionTime": "101700",
            "InstitutionName": f"{self.word('institution').capitalize()} Hospital", "Manufacturer": "ACME",
            "ManufacturerModelName": "Axial 5", "StationName": self.word("station").upper(),
            "StudyDescription": f"axial chest of {self.last}", "SeriesDescription": "axial 1.5 soft kernel",
            "StudyInstanceUID": self.uid("study"), "FrameOfReferenceUID": self.uid("frame"),
            "PositionReferenceIndicator": "", "OperatorsName": f"{self.word('operator').capitalize()}^Bo", "SeriesNumber": "3", "BodyPartExamined": "CHEST",
        }  # fmt: skip


def ct(person: Person) -> list[Dataset]:
    """An oblique CT series, in order."""
    made = sorted(series(PLACE), key=lambda ds: -int(ds.InstanceNumber))
    for number, ds in enumerate(made, 1):
        _fill(ds, person, "ct", number)
        ds.ImageType, ds.KVP, ds.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], "120", "1"
        ds.RescaleType, ds.ConvolutionKernel, ds.WindowCenter, ds.WindowWidth = "HU", "B30f", "40", "400"
        ds.PatientPosition, ds.PixelPaddingValue = "HFS", -3000
        ds["PixelPaddingValue"].VR = "SS"
    return made


def mr(person: Person) -> Dataset:
    """One MR slice."""
    ds = series(PLACE, signed=False)[0]
    _fill(ds, person, "mr", 1)
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        delattr(ds, keyword)
    ds.SOPClassUID, ds.Modality, ds.ImageType = MRImageStorage, "MR", ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
    ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength, ds.PatientPosition = "12.5", "510", "1", "HFS"
    ds.MagneticFieldStrength, ds.FlipAngle = "1.5", "90"
    return ds


def us(person: Person) -> Dataset:
    """One ultrasound picture whose first rows hold letters."""
    ds = Dataset()
    ds.SOPClassUID, ds.Modality, ds.ImageType = UltrasoundImageStorage, "US", ["ORIGINAL", "PRIMARY", "ABDOMINAL"]
    _fill(ds, person, "us", 1)
    del ds.FrameOfReferenceUID, ds.PositionReferenceIndicator
    ds.PatientOrientation, ds.LossyImageCompression, ds.BurnedInAnnotation = "", "00", "NO"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 20, 31, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = np.arange(620, dtype=np.uint8).tobytes()
    ds["PixelData"].VR = "OB"
    ds.file_meta = series(PLACE)[0].file_meta
    return ds


def rtstruct(person: Person, images: list[Dataset]) -> Dataset:
    """One structure on the CT."""
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = RTStructureSetStorage, "RTSTRUCT"
    _fill(ds, person, "rtstruct", 1)
    for keyword in ("AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime", "BodyPartExamined"):
        delattr(ds, keyword)
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "axial", ds.StudyDate, "112233"
    ds.ApprovalStatus = "UNAPPROVED"
    contours = [_of(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints="3", ContourImageSequence=[_reference(one)],
                    ContourData=_triangle(number)) for number, one in enumerate(images)]  # fmt: skip
    used = _of(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=[_reference(one) for one in images])
    study = _of(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID=ds.StudyInstanceUID,
                RTReferencedSeriesSequence=[used])  # fmt: skip
    ds.ReferencedFrameOfReferenceSequence = [
        _of(FrameOfReferenceUID=ds.FrameOfReferenceUID, RTReferencedStudySequence=[study])]
    ds.StructureSetROISequence = [_of(ROINumber="1", ReferencedFrameOfReferenceUID=ds.FrameOfReferenceUID, ROIName="heart",
                                      ROIGenerationAlgorithm="MANUAL")]  # fmt: skip
    ds.ROIContourSequence = [_of(ReferencedROINumber="1", ROIDisplayColor=["10", "200", "30"], ContourSequence=contours)]
    ds.RTROIObservationsSequence = [_of(ObservationNumber="1", ReferencedROINumber="1", RTROIInterpretedType="ORGAN",
                                        ROIInterpreter=f"{person.word('interpreter').capitalize()}^Eve")]  # fmt: skip
    ds.file_meta = series(PLACE)[0].file_meta
    return ds


def pr(person: Person, images: list[Dataset]) -> Dataset:
    """A presentation state with a name written over the image, and a circle."""
    from highdicom.pr import (
        GraphicAnnotation,
        GraphicLayer,
        GraphicObject,
        GrayscaleSoftcopyPresentationState,
        TextObject,
    )

    layer = GraphicLayer("NOTES", 1)
    text = TextObject(f"axial of {person.last}", "PIXEL", bounding_box=(1.0, 2.0, 9.0, 7.0))
    circle = GraphicObject("CIRCLE", np.array([[4.0, 3.0], [6.0, 3.0]]), "PIXEL")
    note = GraphicAnnotation(images, layer, graphic_objects=[circle], text_objects=[text])
    return GrayscaleSoftcopyPresentationState(
        images, person.uid("pr series"), 7, person.uid("pr 1"), 1, "ACME", "Axial 5", "1", person.word("serial"), "NOTES",
        graphic_annotations=[note], graphic_layers=[layer],
        content_creator_name=f"{person.word('creator').capitalize()}^Eve")  # fmt: skip


def objects(person: Person) -> list[tuple[str, Dataset]]:
    """Everything of a patient, by kind: the images before what refers to them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = ct(person)
        vol = volume_from_datasets(images)
        provenance = Provenance("heart-wall", "3", (person.uid("model"), "ab" * 32),
                                datetime(2022, 1, 2, 3, 4, 5, tzinfo=UTC))  # fmt: skip
        seg = write_seg(drawing(), vol, provenance)
        seg.SOPInstanceUID, seg.SeriesInstanceUID = person.uid("seg 1"), person.uid("seg series")
        seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
        sr = read_dataset(encoded(write_sr(drawing(), vol, provenance, seg=seg)))
        _say(sr, person)
        return [*(("CT", one) for one in images), ("MR", mr(person)), ("US", us(person)), ("SEG", seg), ("SR", sr),
                ("RTSTRUCT", rtstruct(person, images)), ("PR", pr(person, images))]


def drawing(place: Grid = PLACE) -> Mask:
    """Two boxes that touch, nothing symmetric about them."""
    array = np.zeros(place.shape, np.uint8)
    array[0:2, 2:7, 3:9] = 1
    array[1:3, 3:5, 4:11] = 2
    return Mask(array, place, LABELS)


def _say(sr: Dataset, person: Person) -> None:
    """Content items that name people, days and texts, two levels deep."""
    def concept(value: str, meaning: str) -> list[Dataset]:
        return [_of(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)]

    said = [
        _of(ValueType="TEXT", RelationshipType="CONTAINS", ConceptNameCodeSequence=concept("121071", "Finding"),
            TextValue=f"axial view of {person.last} on {person.day('study').isoformat()}, Dr. Smith agrees"),
        _of(ValueType="PNAME", RelationshipType="CONTAINS", ConceptNameCodeSequence=concept("121008", "Person Observer Name"),
            PersonName=f"{person.word('observer').capitalize()}^Eve"),
        _of(ValueType="DATE", RelationshipType="CONTAINS", ConceptNameCodeSequence=concept("111060", "Study Date"),
            Date=person.day("study").strftime("%Y%m%d")),
        _of(ValueType="UIDREF", RelationshipType="CONTAINS", ConceptNameCodeSequence=concept("112040", "Tracking Unique Identifier"),
            UID=person.uid("tracking")),
    ]  # fmt: skip
    inner = _of(ValueType="CONTAINER", RelationshipType="CONTAINS", ContinuityOfContent="SEPARATE",
                ConceptNameCodeSequence=concept("121070", "Findings"), ContentSequence=said)  # fmt: skip
    sr.ContentSequence.append(inner)


def _fill(ds: Dataset, person: Person, what: str, number: int) -> None:
    for keyword, value in person.header.items():
        setattr(ds, keyword, value)
    ds.SOPInstanceUID, ds.SeriesInstanceUID = person.uid(f"{what} {number}"), person.uid(f"{what} series")
    ds.InstanceNumber = str(number)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        if keyword in ds:                      # 16 letters at most
            ds[keyword].value = [f"{v:.9g}" for v in np.atleast_1d(np.array(ds[keyword].value, float))]


def _triangle(number: int) -> list[str]:
    corners = np.array([(number, 2, 3), (number, 7, 4), (number, 4, 9)])
    world = np.column_stack([corners, np.ones(3)]) @ PLACE.affine.T
    return [f"{v:.10g}" for v in world[:, :3].ravel()]


def _reference(image: Dataset) -> Dataset:
    return _of(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _of(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, Sequence(value) if keyword.endswith("Sequence") else value)
    return ds
