"""What only DICOMweb can get wrong: the network, credentials, refusals; against real Orthancs and broken servers."""

import gzip
import socket
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ailab_kernel.archives import Archive, open_archive
from ailab_kernel.archives.instances import encode
from ailab_kernel.ground.errors import (
    AilabError,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnreachable,
    NotFound,
    SettingsError,
)
from tests.archives.samples import HOSPITAL, hospital, make
from tests.services import Orthanc, need_service, orthanc

REJECT_MR = "function ReceivedInstanceFilter(dicom, origin, info) return dicom.Modality ~= 'MR' end"


@contextmanager
def http_server(status: int, body: bytes = b"", *, kind: str = "text/html", wait: threading.Event | None = None
                ) -> Iterator[str]:
    """A server that answers everything alike, as an archive URL."""
    class Handler(BaseHTTPRequestHandler):
        seen: list[str | None] = []

        def answer(self) -> None:
            if wait:
                wait.wait(30)
            self.seen.append(self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"dicomweb+http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        if wait:
            wait.set()
        server.shutdown()
        server.server_close()
        thread.join()


def refusal(archive: Archive, **match: object) -> AilabError:
    with pytest.raises(AilabError) as caught:
        archive.search(**match)
    return caught.value


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = refusal(open_archive(f"dicomweb+http://127.0.0.1:{port}/dicom-web"), patient="SECRET-1")
    assert type(error) is ArchiveUnreachable
    assert f"127.0.0.1:{port}" in str(error)
    assert "check host and port" in str(error)


def test_no_patient_in_message_or_traceback() -> None:
    with http_server(500) as url:
        error = refusal(open_archive(url), patient="SECRET-1")
    assert type(error) is ArchiveRefused
    assert "SECRET-1" not in "".join(traceback.format_exception(error)[-1:])
    assert error.__suppress_context__
    assert error.__cause__ is None


def test_silent_server_is_unreachable() -> None:
    with http_server(200, wait=threading.Event()) as url:
        assert type(refusal(open_archive(url + "?timeout=0.3"))) is ArchiveUnreachable


@pytest.mark.parametrize(("status", "kind", "says"), [
    (401, ArchiveRefused, "credentials"),
    (403, ArchiveRefused, "does not allow"),
    (404, NotFound, "no DICOMweb service"),
    (418, ArchiveRefused, "HTTP 418"),
])
def test_refusals_say_what_to_do(status: int, kind: type[AilabError], says: str) -> None:
    with http_server(status) as url:
        error = refusal(open_archive(url))
    assert type(error) is kind
    assert says in str(error)


def test_a_web_page_is_no_archive() -> None:
    with http_server(200, b"<html>hello</html>") as url:
        error = refusal(open_archive(url))
    assert type(error) is ArchiveError
    assert "check the path" in str(error)


def test_a_busy_server_is_asked_again_then_named() -> None:
    with http_server(503) as url:
        error = refusal(open_archive(url))
    assert type(error) is ArchiveUnreachable
    assert "busy" in str(error)


@pytest.mark.parametrize("body", [b"", b"not multipart", b"--x\r\n\r\nnot DICOM\r\n--x--"])
def test_broken_answers_to_retrieve(body: bytes) -> None:
    with http_server(200, body, kind='multipart/related; type="application/dicom"; boundary=x') as url, \
            pytest.raises((ArchiveError, NotFound)):
        list(open_archive(url).retrieve(open_series()))


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_another_kind_of_answer_to_retrieve(kind: str) -> None:
    with http_server(200, b"<html>", kind=kind) as url, pytest.raises(ArchiveError, match="expected multipart/related"):
        list(open_archive(url).retrieve_files(open_series()))


def test_a_server_too_busy_to_retrieve_is_asked_again_then_named() -> None:
    with http_server(503) as url, pytest.raises(ArchiveUnreachable, match="too busy to retrieve"):
        open_archive(url).retrieve_files(open_series())


def test_an_answer_that_is_packed_all_the_same_is_unpacked() -> None:
    data = encode(make(HOSPITAL[0])[0])
    body = gzip.compress(b"--x\r\nContent-Length: %d\r\n\r\n" % len(data) + data + b"\r\n--x--")
    answer = (b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=x\r\nContent-Encoding: gzip\r\n"
              b"Content-Length: %d\r\n\r\n" % len(body)) + body
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        archive = open_archive(f"dicomweb+http://127.0.0.1:{listener.getsockname()[1]}/dicom-web")
        assert list(archive.retrieve_files(open_series())) == [data]
        thread.join()


def test_a_reader_that_stops_leaves_the_archive_usable(pacs: Orthanc) -> None:
    archive = open_archive(pacs.url)
    archive.store(make(HOSPITAL[0]))
    series, = archive.search_series()
    files = archive.retrieve_files(series)
    next(files)
    files.close()
    assert len(list(archive.retrieve_files(series))) == 3


def test_an_archive_that_goes_away_in_the_middle() -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=x\r\n"
                               b"Content-Length: 1000000\r\n\r\n--x\r\n\r\nhalf an inst")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        archive = open_archive(f"dicomweb+http://127.0.0.1:{listener.getsockname()[1]}/dicom-web")
        with pytest.raises(ArchiveUnreachable, match="no answer from"):
            list(archive.retrieve(open_series()))
        thread.join()


def open_series() -> object:
    from ailab_kernel.archives import Series
    return Series("1.2.3", "1.2.3.4")


@pytest.mark.parametrize(("url", "says"), [
    ("dicomweb+http://", "no host"),
    ("dicomweb+http://host:port/x", "no valid host and port"),
    ("dicomweb+http://host/x?color=red", "unknown option color"),
    ("dicomweb+http://host/x?timeout=never", "no number of seconds"),
    ("dicomweb+http://user@host/x?password_env=AILAB_NOT_SET", "AILAB_NOT_SET"),
])
def test_wrong_urls(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_archive(url)


def test_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server(200, b"[]", kind="application/dicom+json") as url:
        archive = open_archive(url + "?token_env=AILAB_TEST_TOKEN")
        assert type(refusal(archive)) is SettingsError
        monkeypatch.setenv("AILAB_TEST_TOKEN", "t0ken")
        assert archive.search() == ()
        assert "t0ken" not in repr(archive) + archive.url


def test_credentials_open_a_guarded_orthanc_and_stay_hidden(tmp_path: Path) -> None:
    with orthanc(tmp_path, users={"anna": "p@ss/word"}) as server:
        url = server.url.replace("p@ss/word", "p%40ss%2Fword")
        archive = open_archive(url)
        assert archive.store(make(HOSPITAL[0])).stored == 3
        assert "p@ss" not in repr(archive) + archive.url + repr(archive.server)
        error = refusal(open_archive(url.replace("p%40ss", "wrong")))
    assert type(error) is ArchiveRefused
    assert "credentials" in str(error)
    assert "wrong" not in str(error)


def test_orthanc_refuses_some_and_keeps_the_rest(tmp_path: Path) -> None:
    with orthanc(tmp_path, lua=REJECT_MR) as server:
        archive = open_archive(server.url)
        answer = archive.store(hospital())
        assert (answer.stored, answer.already, len(answer.refused)) == (len(hospital()) - 2, 0, 2)
        assert {one.what for one in answer.refused} == {ds.SOPInstanceUID for ds in make(HOSPITAL[3])}
        assert archive.search(modality="MR") == ()


def test_orthanc_offers_no_deletion_over_dicomweb(pacs: Orthanc) -> None:
    archive = open_archive(pacs.url)
    archive.store(make(HOSPITAL[0]))
    with pytest.raises(ArchiveRefused, match="does not offer"):
        archive.delete(HOSPITAL[0].study_uid)
    assert len(archive.search()) == 1


def test_real_chest_from_a_scanner_through_orthanc(pacs: Orthanc, shared_data: Path) -> None:
    """What a modality sends by C-STORE (dcmtk's storescu) is found and read through DICOMweb, voxel for voxel."""
    need_service("storescu", package="dcmtk")
    from ailab_kernel.dicom.parsing import is_dicom, read_dataset

    folder = shared_data / "cip_chest" / "ct-64Dicom"
    sent = [path for path in sorted(folder.rglob("*")) if path.is_file() and is_dicom(path)]
    subprocess.run(["storescu", "-aec", "ORTHANC", "127.0.0.1", str(pacs.dicom_port), *map(str, sent)], check=True,
                   env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"}, timeout=120)
    archive = open_archive(pacs.url)
    study, = archive.search()
    back = [ds for series in study.series for ds in archive.retrieve(series)]
    original = {ds.SOPInstanceUID: ds.PixelData for ds in map(read_dataset, sent)}
    assert len(sent) == len(back) == study.instances == 79
    assert all(original[ds.SOPInstanceUID] == ds.PixelData for ds in back)
