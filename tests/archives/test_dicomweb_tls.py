"""DICOMweb over TLS: the server's certificate is always checked, and ours is shown where it is asked for."""

import ssl

import pytest

from ailab_kernel.archives import open_archive
from ailab_kernel.ground.errors import ArchiveUnreachable, SettingsError
from tests.archives.samples import HOSPITAL, make
from tests.services import orthanc
from tests.tls import certificate, in_front_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return {name: certificate(folder, name) for name in ("pacs", "ours", "stranger")}


@pytest.fixture(scope="module")
def port(files, tmp_path_factory):
    """A real Orthanc behind TLS that asks for our certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files["ours"][0])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*files["pacs"])
    with orthanc(tmp_path_factory.mktemp("orthanc")) as server, in_front_of(server.http_port, context) as door:
        yield door


def at(port: int, options: str) -> str:
    return f"dicomweb+https://127.0.0.1:{port}/dicom-web?timeout=5&{options}"


def test_images_go_and_come_over_tls(port, files, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files["stranger"][0]))
    archive = open_archive(at(port, f"ca={files['pacs'][0]}&cert={files['ours'][0]}&key={files['ours'][1]}"))
    assert archive.store(make(HOSPITAL[0])).stored == 3
    assert len(archive.search()) == 1
    series, = archive.search_series(HOSPITAL[0].study_uid)
    assert len(list(archive.retrieve(series))) == 3


@pytest.mark.parametrize("who", ["nobody checks theirs", "another authority", "no certificate of ours", "a stranger's"])
def test_without_the_right_certificates_nothing_passes(port, files, who):
    ours, pacs, stranger = files["ours"], files["pacs"][0], files["stranger"]
    options = {
        "nobody checks theirs": f"cert={ours[0]}&key={ours[1]}",
        "another authority": f"ca={stranger[0]}&cert={ours[0]}&key={ours[1]}",
        "no certificate of ours": f"ca={pacs}",
        "a stranger's": f"ca={pacs}&cert={stranger[0]}&key={stranger[1]}",
    }[who]
    with pytest.raises(ArchiveUnreachable) as told:
        open_archive(at(port, options)).search()
    assert "certificate" in str(told.value)


def test_a_file_that_there_is_not_is_told():
    with pytest.raises(SettingsError, match="ca=/none"):
        open_archive("dicomweb+https://127.0.0.1/x?ca=/none")
