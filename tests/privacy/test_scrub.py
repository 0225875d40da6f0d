"""Objects without their patient: every depth, every exit, and the proof."""

from io import BytesIO

import pytest
from pydicom import DataElement, Dataset, Sequence, dcmread

from ailab_kernel.ground.errors import DicomError, NotDeidentified
from ailab_kernel.privacy.rules.profile import profile_of
from ailab_kernel.privacy.verify import certify, originals

from .objects import ct, file_of, scrubbed, scrubber

PLANTED = (b"quixano", b"alonso", b"4711", b"19280923", b"acc778899", b"carrasco", b"argamasilla", b"ctscan7", b"st-2201",
           b"20240229", b"20240301", b"02/29/2024", b"1.2.276.0.77")  # fmt: skip


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def nested(depth: int) -> Dataset:
    """The person once more at a depth, in a sequence that the table does not name."""
    inner = item(PatientName="Quixano^Alonso", PatientID="MRN-4711-77", OperatorsName="Carrasco^Sanson",
                 ReferencedSOPInstanceUID="1.2.276.0.77.77.1", ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                 ContentDate="20240229", TextValue="Quixano was seen by Dr. Carrasco", InstitutionName="Hospital of Argamasilla")
    for _ in range(depth):
        inner = item(CTExposureSequence=Sequence([inner]))
    return inner


@pytest.mark.parametrize("profile", ["basic", "research", "basic+uids", "research+institution"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_no_planted_value_is_left(profile, depth):
    ds = ct(CTExposureSequence=Sequence([nested(depth)]), ImageComments="Alonso Quixano", PatientComments="of Argamasilla",
            RequestAttributesSequence=Sequence([item(RequestedProcedureID="ST-2201", ScheduledProcedureStepDescription="for Quixano")]))
    block = ds.private_block(0x0029, "SOMEBODY", create=True)
    block.add_new(1, "LO", "Quixano")
    ds.add_new(0x60000010, "US", 4)
    ds.add_new(0x60003000, "OW", b"quixano!")
    ds.add_new(0x50000010, "US", 1)
    ds.add_new(0x50003000, "OW", b"quixano!")
    ds.add_new(0x00104999, "UN", b"quixano!")
    ds.add_new(0xFFFCFFFC, "OB", b"quixano!")
    made = scrubber(profile).scrub(file_of(ds)).file().lower()
    allowed = {"basic+uids": {b"1.2.276.0.77"}, "research+institution": {b"argamasilla"}}.get(profile, set())
    assert [value for value in PLANTED if value in made and value not in allowed] == []
    assert b"somebody" not in made


def test_what_stays_is_what_was():
    ds = ct()
    after = scrubbed(ds)
    assert after.PixelData == ds.PixelData
    for keyword in ("Rows", "KVP", "Manufacturer", "Modality", "SeriesDescription", "PatientSex", "SOPClassUID"):
        assert after[keyword].value == ds[keyword].value, keyword
    assert after.StudyTime == "101500"
    assert after.PatientAge == "090Y"
    assert after.StudyDescription == "CT chest for [removed], ordered by [removed] on [removed]"
    assert after.PatientIdentityRemoved == "YES"
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"
    assert after.preamble == b"\0" * 128
    assert "SourceApplicationEntityTitle" not in after.file_meta
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID


def test_references_hold_and_people_stay_one_person():
    one = scrubbed(ct("1.2.276.0.77.77.1"))
    other = scrubbed(ct("1.2.276.0.77.77.2", ReferencedImageSequence=Sequence([
        item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.276.0.77.77.1")])), "basic")
    assert other.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert other.StudyInstanceUID == one.StudyInstanceUID
    assert one.PatientID == other.PatientID == str(one.PatientName)
    assert scrubbed(ct(PatientID="another")).PatientID != one.PatientID


def test_without_a_patient_id_the_study_is_the_patient():
    made = scrubbed(ct(PatientID=""))
    assert made.PatientID == scrubbed(ct(PatientID=None)).PatientID != ""


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_every_plain_syntax(syntax):
    ds = ct()
    ds.file_meta.TransferSyntaxUID = syntax
    made = scrubbed(ds)
    assert made.file_meta.TransferSyntaxUID == syntax
    assert made.PixelData == ds.PixelData
    assert made.PatientID == scrubbed(ct()).PatientID


def test_a_safe_private_attribute_stays():
    ds = ct()
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0B, "LO", "Quixano")
    made = scrubbed(ds)
    assert made.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 1000
    assert len([one for one in made if one.tag.is_private]) == 2
    assert not [one for one in scrubbed(ds, "basic") if one.tag.is_private]


def test_names_in_other_letters():
    ds = ct(PatientName="Müller^Jürgen", StudyDescription="Thorax Müller", SpecificCharacterSet="ISO_IR 100")
    assert scrubbed(ds).StudyDescription == "Thorax [removed]"
    ds = ct(PatientName="Иванов^Пётр", ImageComments="снимок Иванов", SpecificCharacterSet="ISO_IR 192")
    assert "Иванов" not in scrubbed(ds).ImageComments


def test_a_kept_text_loses_the_name_too():
    made = scrubbed(ct(ManufacturerModelName="Scanner of QUIXANO", ProtocolName="ALONSO lung"))
    assert made.ManufacturerModelName == "Scanner of [removed]"
    assert made.ProtocolName == "[removed] lung"


def test_a_document_is_refused():
    ds = ct(EncapsulatedDocument=b"%PDF-Quixano")
    with pytest.raises(NotDeidentified, match="holds a document"):
        scrubber().scrub(file_of(ds))
    assert "EncapsulatedDocument" in scrubbed(ds, documents=True)


@pytest.mark.parametrize("data", [b"", b"no dicom", file_of(ct())[:300]], ids=["empty", "other", "cut"])
def test_what_is_no_dicom_is_told(data):
    with pytest.raises(DicomError):
        scrubber().scrub(data)


def test_the_certificate_counts_and_finds():
    profile = profile_of("research")
    before = originals(dcmread(BytesIO(file_of(ct()))), profile)
    assert {"Quixano^Alonso", "MRN-4711-77", "20240229"} <= before
    done = scrubber().scrub(file_of(ct()))
    good = certify(before, done, file=done.file(), profile=profile)
    assert good.clean
    assert good.searched >= 15
    done.dataset.SeriesDescription = "left: Quixano^Alonso"
    done.dataset[0x00081090] = DataElement(0x00081090, "LO", "MRN-4711-77")
    bad = certify(before, done, file=done.file(), profile=profile)
    assert bad.found == ("0008103E", "00081090")
    assert "Quixano" not in repr(bad)
