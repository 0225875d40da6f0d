"""The archive through the service's proxy: the suite that every archive passes, over each kind that it may stand before."""

import json
import os
import socket
import threading
from dataclasses import replace

import pytest
import requests

from ailab_kernel.archives import Archive, Series, open_archive
from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make as make_phantom
from ailab_kernel.datasets.phantoms import random_phantom
from ailab_kernel.ground.errors import ArchiveRefused, ArchiveUnreachable
from ailab_kernel.workspace import open_workspace
from tests.archives.samples import HOSPITAL, hospital, make
from tests.archives.test_conformance import (  # noqa: F401 - the same questions, asked of this module's archive
    filled,
    test_a_known_uid_in_another_series_is_refused,
    test_archive_and_studies_go_to_another_process,
    test_compressed_instances_stay_as_they_are,
    test_dataset_without_transfer_syntax_is_explicit_little_endian,
    test_delete_needs_a_uid,
    test_delete_of_an_unknown_study,
    test_empty_archive_answers_empty,
    test_files_are_whole_and_as_stored,
    test_files_of_an_unknown_series,
    test_files_of_what_is_no_uid,
    test_html_is_escaped,
    test_is_an_archive,
    test_newest_first,
    test_other_content_under_a_known_uid_is_refused,
    test_refusals_never_name_the_patient,
    test_retrieve_gives_back_what_was_stored,
    test_retrieve_is_a_stream,
    test_retrieve_of_an_unknown_series,
    test_search_goes_through_every_page,
    test_search_series,
    test_search_studies,
    test_store_leaves_the_dataset_alone,
    test_store_twice_changes_nothing,
    test_study_says_what_it_is,
    test_today_finds_today,
    test_uids_that_are_none_are_refused_and_the_rest_goes_on,
    test_values_show_as_tables_without_the_patient,
    test_what_was_retrieved_is_already_there,
    test_wrong_questions_are_named,
)
from tests.service.serving import House, serving, token


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("proxy")) as house:
        yield house


@pytest.fixture(params=["folder", "dicomweb", pytest.param("dimse-get", marks=pytest.mark.slow)])
def behind(request, tmp_path) -> Archive:
    """An empty archive of each kind, for the proxy to stand before."""
    if request.param == "folder":
        return open_archive(f"folder:{tmp_path / 'archive'}")
    pacs = request.getfixturevalue("pacs")
    return open_archive(pacs.url if request.param == "dicomweb" else pacs.dimse)


@pytest.fixture
def proxied(running, behind) -> House:
    running.app.state.desk = replace(running.desk, archive=behind)
    return running


@pytest.fixture
def archive(proxied, monkeypatch, tmp_path) -> Archive:
    return seen_by("admin", proxied, monkeypatch, tmp_path)


def seen_by(role: str, house: House, monkeypatch, folder) -> Archive:
    for name in [name for name in os.environ if name.startswith(("AILAB_", "JUPYTERHUB_"))]:
        if name != "AILAB_REQUIRE_SERVICES":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AILAB_SERVICE", house.url)
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", token(role))
    archive = open_workspace(folder, home=folder / "mine").archive
    assert archive.url == f"dicomweb+{house.url}/dicom-web"
    return archive


def lines(house: House, event: str) -> list[dict]:
    return [row | {"detail": json.loads(row["detail"])} for row in house.desk.realms.lab.audit_trail()
            if row["event"] == event]  # fmt: skip


def test_what_was_fetched_stands_in_the_trail(archive, proxied):
    archive.store(make(HOSPITAL[0]))
    list(archive.retrieve(Series(HOSPITAL[0].study_uid, HOSPITAL[0].series_uid)))
    last = lines(proxied, "service.archive-retrieve")[-1]
    assert (last["by"], last["detail"]) == ("admin", {"study": HOSPITAL[0].study_uid, "series": HOSPITAL[0].series_uid})
    assert lines(proxied, "service.archive-store")[-1]["detail"] == {
        "series": HOSPITAL[0].series_uid, "stored": "3", "already": "0", "refused": "0"}


def test_deleted_is_gone(archive, behind):
    archive.store(hospital())
    if not behind.url.startswith("folder"):
        with pytest.raises(ArchiveRefused):        # DIMSE has no deletion, and Orthanc offers none over DICOMweb
            archive.delete(HOSPITAL[0].study_uid)
        return
    archive.delete(HOSPITAL[0].study_uid, HOSPITAL[0].series_uid)
    assert [one.uid for one in behind.search_series(HOSPITAL[0].study_uid)] == [HOSPITAL[1].series_uid]
    archive.delete(HOSPITAL[0].study_uid)
    assert HOSPITAL[0].study_uid not in {one.uid for one in behind.search()}


@pytest.mark.parametrize("role", ["student", "guest"])
def test_who_may_not_sees_no_patient(proxied, behind, monkeypatch, tmp_path, role):
    behind.store(hospital())
    archive = seen_by(role, proxied, monkeypatch, tmp_path)
    series = Series(HOSPITAL[0].study_uid, HOSPITAL[0].series_uid)
    for act in (archive.search, archive.search_series, lambda: list(archive.retrieve(series)),
                lambda: archive.store(hospital()), lambda: archive.delete(HOSPITAL[0].study_uid)):  # fmt: skip
        with pytest.raises(ArchiveRefused, match="does not allow this"):
            act()
    assert len(behind.search()) == 4


def test_an_auditor_reads_and_changes_nothing(proxied, behind, monkeypatch, tmp_path):
    behind.store(hospital())
    archive = seen_by("auditor", proxied, monkeypatch, tmp_path)
    assert len(list(archive.retrieve(archive.search_series(HOSPITAL[0].study_uid)[0]))) == 3
    changed = make(HOSPITAL[0])[0]
    changed.SOPInstanceUID += ".1"
    with pytest.raises(ArchiveRefused):
        archive.store([changed])
    with pytest.raises(ArchiveRefused):
        archive.delete(HOSPITAL[0].study_uid)


def test_qido_by_tag_and_what_it_does_not_search_by(proxied, behind):
    behind.store(hospital())
    found = proxied.ask("auditor", "GET", "dicom-web/series", params={"00080060": "MR", "includefield": "all"}).json()
    assert [one["0020000E"]["Value"] for one in found] == [[HOSPITAL[3].series_uid]]
    assert "00100020" not in found[0]
    assert "00100010" not in found[0]
    answer = proxied.ask("auditor", "GET", "dicom-web/studies", params={"PatientBirthDate": "19500101"})
    assert answer.status_code == 400
    assert "not searched by PatientBirthDate" in answer.json()["message"]
    assert "1950" not in answer.text


def test_stow_says_what_became_of_each(proxied, behind):
    from tests.service.test_roles import stow

    good = stow(HOSPITAL[0])
    body = good["data"].replace(b"--edge--\r\n", b"--edge\r\n\r\nno DICOM\r\n--edge--\r\n")
    answer = proxied.ask("radiologist", "POST", "dicom-web/studies", data=body, headers=good["headers"])
    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 3
    assert answer.json()["00081198"]["Value"] == [{"00081197": {"vr": "US", "Value": [0x0110]}}]
    cut = proxied.ask("radiologist", "POST", "dicom-web/studies", data=good["data"][:-200], headers=good["headers"])
    assert (cut.status_code, cut.json()["error"]) == (400, "WrongUse")
    plain = proxied.ask("radiologist", "POST", "dicom-web/studies", data=b"{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 400


def test_where_users_are_not_isolated_patients_stay_outside(proxied, behind, monkeypatch, tmp_path):
    behind.store(hospital())
    proxied.app.state.desk = replace(proxied.desk, phantoms_only=True)
    archive = seen_by("admin", proxied, monkeypatch, tmp_path)
    try:
        with pytest.raises(ArchiveRefused, match="does not allow this"):
            list(archive.retrieve(archive.search_series(HOSPITAL[0].study_uid)[0]))
        new = make(HOSPITAL[0])[0]
        new.SOPInstanceUID += ".1"
        with pytest.raises(ArchiveRefused, match="does not allow this"):
            archive.store([new])
        phantom = make_phantom(random_phantom(7, size=(6, 24, 24), spacing_mm=(40.0, 16.0, 16.0)))
        instances, seg = to_dicom(phantom)
        assert archive.store([*instances, *([seg] if seg else [])]).refused == ()
        for series in archive.search_series(phantom.volume.study_uid):
            assert len(list(archive.retrieve(series))) in {1, 6}
    finally:
        proxied.app.state.desk = replace(proxied.desk, phantoms_only=False)


class Broken:
    """An archive whose second file never comes."""

    url = "broken:"

    def retrieve_files(self, series):
        yield b"\0" * 128 + b"DICM" + b"first"
        raise ArchiveUnreachable("gone in the middle")

    def search_studies(self, **match):
        raise ArchiveUnreachable("no answer from pacs")


def test_a_series_that_breaks_off_is_never_a_short_one(running, monkeypatch, tmp_path):
    running.app.state.desk = replace(running.desk, archive=Broken())
    archive = seen_by("admin", running, monkeypatch, tmp_path)
    with pytest.raises(ArchiveUnreachable):
        list(archive.retrieve_files(Series(HOSPITAL[0].study_uid, HOSPITAL[0].series_uid)))
    answer = running.ask("admin", "GET", "dicom-web/studies")
    assert (answer.status_code, answer.json()["error"]) == (502, "ArchiveUnreachable")


def test_a_reader_who_leaves_does_not_hold_the_service(proxied, behind):
    if behind.url.startswith("dimse"):
        pytest.skip("pynetdicom leaves the sockets of associations that were aborted to the collector")
    behind.store(hospital())
    host, port = proxied.url.removeprefix("http://").partition("/")[0].split(":")
    path = f"/services/ailab/dicom-web/studies/{HOSPITAL[0].study_uid}/series/{HOSPITAL[0].series_uid}"
    for _ in range(60):                        # more than the service has threads
        with socket.create_connection((host, int(port))) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: token {token('admin')}\r\n\r\n".encode())
            line.recv(100)
    assert requests.get(f"{proxied.url}/health", timeout=10).ok


def test_many_read_at_once(proxied, behind, monkeypatch, tmp_path):
    behind.store(hospital())
    archive = seen_by("radiologist", proxied, monkeypatch, tmp_path)
    counts = []

    def read() -> None:
        counts.append(len(list(archive.retrieve_files(Series(HOSPITAL[0].study_uid, HOSPITAL[0].series_uid)))))

    readers = [threading.Thread(target=read) for _ in range(8)]
    for one in readers:
        one.start()
    for one in readers:
        one.join()
    assert counts == [3] * 8


def test_an_archive_that_was_named_is_taken(running, monkeypatch, tmp_path):
    seen_by("admin", running, monkeypatch, tmp_path)
    named = open_workspace(tmp_path, archive=f"folder:{tmp_path / 'own'}")
    assert named.archive.url == f"folder:{tmp_path / 'own'}"
