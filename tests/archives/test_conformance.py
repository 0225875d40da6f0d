"""What every archive does alike: the same questions, the same answers."""

import datetime
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset
from pydicom.uid import RLELossless

from ailab_kernel.archives import Archive, Series, Studies
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import NotFound, WrongUse
from tests.archives.samples import HOSPITAL, Sample, hospital, make

A, B, C, D = (Sample(name, "").study_uid for name in "abcd")


@pytest.fixture
def filled(archive: Archive) -> Archive:
    assert archive.store(hospital()).stored == len(hospital())
    return archive


def uids(studies: Studies) -> set[str]:
    return {study.uid for study in studies}


def test_is_an_archive(archive: Archive) -> None:
    assert isinstance(archive, Archive)


def test_empty_archive_answers_empty(archive: Archive) -> None:
    assert archive.search() == ()
    assert archive.search_series() == ()
    assert archive.search(modality="CT") == ()
    assert archive.search(body_part="CHEST") == ()


def test_study_says_what_it_is(filled: Archive) -> None:
    study, = filled.search(study=D)
    assert (study.description, study.date, study.modalities, study.instances) == (
        "PET-CT chest", datetime.date(2026, 4, 1), ("CT", "PT"), 4)
    assert [(one.modality, one.number, one.description, one.instances, one.study_uid) for one in study.series] == [
        ("CT", 1, "low dose", 2, D), ("PT", 2, "FDG", 2, D)]


def test_newest_first(filled: Archive) -> None:
    assert [study.uid for study in filled.search()] == [D, C, B, A]


@pytest.mark.parametrize(("match", "found"), [
    ({}, {A, B, C, D}),
    ({"modality": "CT"}, {A, B, D}),
    ({"modality": ("MR", "PT")}, {C, D}),
    ({"modality": "MR\\PT"}, {C, D}),
    ({"modality": "M?"}, {C}),
    ({"description": "*chest*"}, {A, D}),
    ({"description": "CT chest"}, {A}),
    ({"description": "*CHEST*"}, {A, D}),
    ({"description": "CT ????"}, {B}),
    ({"description": "*"}, {A, B, C, D}),
    ({"description": ""}, {A, B, C, D}),
    ({"date": "20260215"}, {B}),
    ({"date": "2026-02-15"}, {B}),
    ({"date": datetime.date(2026, 2, 15)}, {B}),
    ({"date": "20260201-20260331"}, {B, C}),
    ({"date": "2026-02-01-2026-03-31"}, {B, C}),
    ({"date": "20260301-"}, {C, D}),
    ({"date": "-20260215"}, {A, B}),
    ({"date": "today"}, set()),
    ({"patient": "P1"}, {A, D}),
    ({"patient": "P?"}, {A, B, C, D}),
    ({"name": "adler*"}, {A, D}),
    ({"accession": "ACC-c"}, {C}),
    ({"study": [A, C]}, {A, C}),
    ({"study": derived_uid("nobody")}, set()),
    ({"series": HOSPITAL[3].series_uid}, {C}),
    ({"body_part": "CHEST"}, {A, D}),
    ({"body_part": "HE*"}, {B, C}),
    ({"body_part": "KNEE"}, set()),
    ({"body_part": "CHEST", "modality": "PT"}, {D}),
    ({"body_part": "CHEST", "study": [A, B]}, {A}),
    ({"modality": "CT", "patient": "P1", "date": "20260401"}, {D}),
])
def test_search_studies(filled: Archive, match: dict, found: set[str]) -> None:
    assert uids(filled.search_studies(**match)) == found


@pytest.mark.parametrize(("match", "found"), [
    ({}, {"lung", "soft", "head", "heart", "ct", "pet"}),
    ({"study_uid": A}, {"lung", "soft"}),
    ({"study_uid": A, "description": "soft*"}, {"soft"}),
    ({"modality": "PT"}, {"pet"}),
    ({"modality": ["PT", "MR"]}, {"pet", "heart"}),
    ({"description": "??w dose"}, {"ct"}),
    ({"date": "20260301-"}, {"heart", "ct", "pet"}),
    ({"patient": "P1", "modality": "CT"}, {"lung", "soft", "ct"}),
    ({"accession": "ACC-b"}, {"head"}),
    ({"body_part": "HEART"}, {"heart"}),
    ({"series": [HOSPITAL[0].series_uid, HOSPITAL[4].series_uid]}, {"lung", "ct"}),
    ({"study_uid": derived_uid("nobody")}, set()),
])
def test_search_series(filled: Archive, match: dict, found: set[str]) -> None:
    names = {sample.series_uid: sample.series for sample in HOSPITAL}
    assert {names[one.uid] for one in filled.search_series(**match)} == found


def test_today_finds_today(archive: Archive) -> None:
    today = datetime.date.today()
    archive.store(make(Sample("now", "now", date=today.strftime("%Y%m%d"))))
    assert [study.date for study in archive.search(date="today")] == [today]


@pytest.mark.parametrize(("match", "says"), [
    ({"color": "red"}, "unknown match word color; an archive is searched by modality, description, date"),
    ({"date": "yesterday-ish"}, "is no date"),
    ({"date": "20260231"}, "not in the calendar"),
    ({"date": "20260301-20260201"}, "ends before it begins"),
    ({"modality": ()}, "empty list"),
    ({"study": "1.2.*"}, "no UID"),
    ({"study": "../../etc"}, "no UID"),
])
def test_wrong_questions_are_named(archive: Archive, match: dict, says: str) -> None:
    with pytest.raises(WrongUse, match=says):
        archive.search(**match)


def test_search_goes_through_every_page(archive: Archive) -> None:
    many = [Sample(f"many-{number}", "s", slices=1, size=2) for number in range(230)]
    archive.store(ds for sample in many for ds in make(sample))
    assert uids(archive.search()) == {sample.study_uid for sample in many}
    assert len(archive.search_series()) == 230


def series_of(archive: Archive, sample: Sample) -> Series:
    found, = archive.search_series(sample.study_uid, series=sample.series_uid)
    return found


def by_number(datasets: Iterator[Dataset]) -> list[Dataset]:
    return sorted(datasets, key=lambda ds: ds.InstanceNumber)


def elements(datasets: list[Dataset]) -> list[list[DataElement]]:
    return [list(ds) for ds in datasets]


def test_retrieve_gives_back_what_was_stored(filled: Archive) -> None:
    back = by_number(filled.retrieve(series_of(filled, HOSPITAL[0])))
    assert elements(back) == elements(make(HOSPITAL[0]))
    assert [ds.file_meta.TransferSyntaxUID for ds in back] == ["1.2.840.10008.1.2.1"] * 3


def test_compressed_instances_stay_as_they_are(archive: Archive) -> None:
    packed = make(HOSPITAL[0])
    for ds in packed:
        ds.compress(RLELossless)
    sent = [ds.PixelData for ds in packed]
    assert archive.store(packed).stored == 3
    back = by_number(archive.retrieve(series_of(archive, HOSPITAL[0])))
    assert [ds.file_meta.TransferSyntaxUID for ds in back] == [RLELossless] * 3
    assert [ds.PixelData for ds in back] == sent
    assert archive.store(back).already == 3


def test_files_are_whole_and_as_stored(archive: Archive) -> None:
    packed = make(HOSPITAL[0])
    packed[0].compress(RLELossless)
    archive.store(packed)
    series = series_of(archive, HOSPITAL[0])
    files = [one.read_bytes() if isinstance(one, Path) else one for one in archive.retrieve_files(series)]
    assert all(type(one) is bytes and one[128:132] == b"DICM" for one in files)
    back = by_number(read_dataset(one) for one in files)
    assert elements(back) == elements(by_number(archive.retrieve(series))) == elements(packed)
    assert [ds.file_meta.TransferSyntaxUID for ds in back] == [ds.file_meta.TransferSyntaxUID for ds in packed]


def test_files_of_an_unknown_series(filled: Archive) -> None:
    with pytest.raises(NotFound, match="no series"):
        list(filled.retrieve_files(Series(A, derived_uid("nobody"))))


@pytest.mark.parametrize("uids", [("../..", A), (A, "../.."), ("", "")])
def test_files_of_what_is_no_uid(filled: Archive, uids: tuple[str, str]) -> None:
    with pytest.raises((NotFound, WrongUse)):
        list(filled.retrieve_files(Series(*uids)))


def test_retrieve_is_a_stream(filled: Archive) -> None:
    stream = filled.retrieve(series_of(filled, HOSPITAL[0]))
    assert iter(stream) is stream
    assert next(stream).SeriesInstanceUID == HOSPITAL[0].series_uid


def test_retrieve_of_an_unknown_series(filled: Archive) -> None:
    with pytest.raises(NotFound, match="no series"):
        list(filled.retrieve(Series(A, derived_uid("nobody"))))


def test_store_twice_changes_nothing(filled: Archive) -> None:
    again = filled.store(hospital())
    assert (again.stored, again.already, again.refused) == (0, len(hospital()), ())


def test_what_was_retrieved_is_already_there(filled: Archive) -> None:
    back = list(filled.retrieve(series_of(filled, HOSPITAL[1])))
    assert filled.store(back).already == len(back) == 2


def test_other_content_under_a_known_uid_is_refused(filled: Archive) -> None:
    changed = make(HOSPITAL[0])
    changed[1].PixelData = bytes(len(changed[1].PixelData))
    answer = filled.store(changed)
    assert (answer.stored, answer.already) == (0, 2)
    assert [one.what for one in answer.refused] == [changed[1].SOPInstanceUID]
    assert "already stored with other content" in answer.refused[0].reason
    assert elements(by_number(filled.retrieve(series_of(filled, HOSPITAL[0])))) == elements(make(HOSPITAL[0]))


def test_a_known_uid_in_another_series_is_refused(filled: Archive) -> None:
    moved = make(HOSPITAL[0])[0]
    moved.SeriesInstanceUID = derived_uid("elsewhere")
    assert len(filled.store([moved]).refused) == 1
    assert filled.search_series(series=moved.SeriesInstanceUID) == ()


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", ["../../evil", "1..2", "", "1." * 33 + "1", "1/2"])
@pytest.mark.filterwarnings("ignore:(Invalid value for|The value length).* VR UI:UserWarning")
def test_uids_that_are_none_are_refused_and_the_rest_goes_on(archive: Archive, keyword: str, value: str) -> None:
    bad, good, _ = make(HOSPITAL[0])
    bad[keyword].value = value
    answer = archive.store([bad, good])
    assert (answer.stored, len(answer.refused)) == (1, 1)
    assert keyword in answer.refused[0].reason


def test_refusals_never_name_the_patient(archive: Archive) -> None:
    nameless = make(HOSPITAL[0])[0]
    del nameless.SOPInstanceUID
    refused, = archive.store([nameless]).refused
    assert "Adler" not in str(refused)
    assert "P1" not in str(refused)


@pytest.mark.parametrize("uids", [("",), ("../..",), ("", HOSPITAL[0].series_uid), (A, "*")])
def test_delete_needs_a_uid(filled: Archive, uids: tuple[str, ...]) -> None:
    with pytest.raises(WrongUse, match="UID"):
        filled.delete(*uids)
    assert len(filled.search()) == 4


def test_delete_of_an_unknown_study(filled: Archive) -> None:
    with pytest.raises(NotFound, match="no study"):
        filled.delete(derived_uid("nobody"))


def test_archive_and_studies_go_to_another_process(filled: Archive) -> None:
    there = pickle.loads(pickle.dumps(filled.search(study=A)[0]))
    assert {one.description for one in there.series} == {"lung", "soft tissue"}


def test_store_leaves_the_dataset_alone(archive: Archive) -> None:
    given, same = make(HOSPITAL[0])[0], make(HOSPITAL[0])[0]
    archive.store([given])
    assert given == same
    assert given.file_meta == same.file_meta


def test_dataset_without_transfer_syntax_is_explicit_little_endian(archive: Archive) -> None:
    ds = make(HOSPITAL[0])[0]
    del ds.file_meta
    assert archive.store([ds]).stored == 1
    back, = archive.retrieve(series_of(archive, HOSPITAL[0]))
    assert back.PixelData == ds.PixelData


def test_values_show_as_tables_without_the_patient(filled: Archive) -> None:
    study = filled.search(patient="P1")[0]
    shown = study._repr_html_() + filled.search()._repr_html_() + study.series._repr_html_() + repr(study)
    assert "<table>" in shown
    assert D in shown
    assert "PET-CT chest" in shown
    assert "Adler" not in shown
    assert "P1" not in shown
    assert "password" not in repr(filled)


def test_html_is_escaped(archive: Archive) -> None:
    archive.store(make(Sample("x", "x", study_description="<script>")))
    assert "<script>" not in archive.search()._repr_html_()
