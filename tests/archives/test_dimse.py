"""What only DIMSE can get wrong: associations, destinations, contexts, silence; against Orthanc and small servers."""

import gc
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ImplicitVRLittleEndian

from ailab_kernel.archives import Archive, DimseArchive, Series, open_archive
from ailab_kernel.archives.dimse import arrivals
from ailab_kernel.archives.dimse.association import FIND, GET, MOVE
from ailab_kernel.archives.dimse.fetching import _syntaxes
from ailab_kernel.archives.instances import encode, fingerprint
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import (
    AilabError,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnreachable,
    MissingExtra,
    SettingsError,
)
from tests.archives.outward import free_port
from tests.archives.samples import HOSPITAL, hospital, make
from tests.archives.scp import scp
from tests.services import Orthanc, need_service, orthanc
from tests.tls import certificate

REJECT_MR = "function ReceivedInstanceFilter(dicom, origin, info) return dicom.Modality ~= 'MR' end"
SERIES = Series(HOSPITAL[0].study_uid, HOSPITAL[0].series_uid)
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")     # the library leaves sockets to the collector


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """They are collected here, and not in another test."""
    yield
    gc.collect()


def at(port: int, options: str = "", *, aet: str = "SMALL") -> Archive:
    return open_archive(f"dimse://127.0.0.1:{port}/{aet}{options}")


def refusal(archive: Archive, **match: object) -> AilabError:
    with pytest.raises(AilabError) as caught:
        archive.search(**match)
    assert "\n" not in str(caught.value)
    return caught.value


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A server that says the same to everybody, then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)
                connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_echo(pacs: Orthanc) -> None:
    open_archive(pacs.dimse).echo()


def test_nobody_there() -> None:
    error = refusal(at(free_port()), patient="SECRET-1")
    assert type(error) is ArchiveUnreachable
    assert "check host and port" in str(error)
    assert "SECRET" not in str(error)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b"])
def test_a_host_that_nobody_knows(host: str) -> None:
    error = refusal(open_archive(f"dimse://{host}/PACS"))
    assert type(error) is ArchiveUnreachable
    assert "check its name" in str(error)


@pytest.mark.parametrize("said", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x02\x00\xff\xff\xff\xff" + bytes(100),            # an A-ASSOCIATE-AC of 4 GiB
    b"",
])
def test_what_is_no_archive_is_unreachable_at_once(said: bytes) -> None:
    with answering(said) as port:
        began = time.monotonic()
        assert type(refusal(at(port, "?timeout=0.5"))) is ArchiveUnreachable
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(("options", "says"), [
    ({"aet": "OTHER"}, "it is not called SMALL; check the AE title at the end"),
    ({"callers": ("SOMEBODY",)}, "it does not know the calling AE title; have its administrator enter AILAB"),
    ({"models": ()}, "offers nothing of what was asked"),
])
def test_rejections_say_why(options: dict, says: str) -> None:
    with scp(**options) as port:
        error = refusal(at(port))
    assert type(error) is ArchiveRefused
    assert says in str(error)


def test_a_known_calling_title_gets_in() -> None:
    with scp(make(HOSPITAL[0]), callers=("WORKBENCH",)) as port:
        assert len(open_archive(f"dimse://WORKBENCH@127.0.0.1:{port}/SMALL").search_series()) == 1


@pytest.mark.parametrize(("url", "says"), [
    ("dimse:///PACS", "no host"),
    ("dimse://host:port/PACS", "no valid host and port"),
    ("dimse://host", "an AE title in the archive's URL has 0 characters"),
    ("dimse://host/A-TITLE-OF-MORE-THAN-16", "expected 1 to 16"),
    ("dimse://host/A%5CB", "odd ones"),
    ("dimse://host/PACS?color=red", "unknown option color; use retrieve"[:20]),
    ("dimse://host/PACS?retrieve=fetch", "write get, move or either"),
    ("dimse://host/PACS?listen=http", "is no port"),
    ("dimse://host/PACS?listen=70000", "is no port"),
    ("dimse://host/PACS?timeout=never", "no number of seconds"),
    ("dimse+tls://host/PACS?ca=not-there.pem", "cannot be used"),
])
def test_wrong_urls(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_archive(url)


@pytest.mark.parametrize(("url", "shown"), [
    ("dimse://host/PACS", "dimse://AILAB@host:104/PACS"),
    ("dimse://ME@host:4242/PACS?retrieve=move&listen=10.0.0.1:11113", "dimse://ME@host:4242/PACS"),
    ("dimse+tls://[::1]/PACS", "dimse+tls://AILAB@[::1]:2762/PACS"),
])
def test_urls_are_shown_whole(url: str, shown: str) -> None:
    archive = open_archive(url)
    assert isinstance(archive, DimseArchive)
    assert archive.url == shown
    assert open_archive(archive.url).url == shown


def test_without_the_library_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(MissingExtra, match=r"pip install 'ailab-kernel\[dimse\]'"):
        at(104).search()


def test_deletion_is_refused(pacs: Orthanc) -> None:
    archive = open_archive(pacs.dimse)
    archive.store(make(HOSPITAL[0]))
    with pytest.raises(ArchiveRefused, match="DIMSE has none"):
        archive.delete(HOSPITAL[0].study_uid)
    assert len(archive.search()) == 1


def test_orthanc_refuses_some_and_keeps_the_rest(tmp_path: Path) -> None:
    with orthanc(tmp_path, lua=REJECT_MR) as server:
        answer = open_archive(server.dimse).store(hospital())
    assert (answer.stored, len(answer.refused)) == (len(hospital()) - 2, 2)
    assert {one.what for one in answer.refused} == {ds.SOPInstanceUID for ds in make(HOSPITAL[3])}


@pytest.mark.parametrize(("status", "says"), [(0xA700, "out of resources"), (0xC123, "0xc123")])
def test_what_a_server_refuses_has_its_status_as_the_reason(status: int, says: str) -> None:
    with scp(status=status) as port:
        answer = at(port).store(make(HOSPITAL[0]))
    assert len(answer.refused) == 3
    assert all(says in one.reason for one in answer.refused)


def test_a_server_that_takes_no_images_says_so() -> None:
    with scp(storage=False) as port:
        answer = at(port).store(make(HOSPITAL[0]))
    assert "does not take CT Image Storage in Explicit VR Little Endian" in answer.refused[0].reason


def test_a_server_without_relational_queries_still_compares() -> None:
    with scp(strict=True) as port:
        archive = at(port)
        assert archive.store(make(HOSPITAL[0])).stored == 3
        assert archive.store(make(HOSPITAL[0])).already == 3


def test_an_instance_that_makes_the_peer_hang_up_is_set_aside(pacs: Orthanc) -> None:
    bad, *good = make(HOSPITAL[0])
    bad.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.94"          # JPIP Referenced, but pixels inside
    bad.PixelData = encapsulate([b"1234"])
    bad["PixelData"].VR = "OB"
    answer = open_archive(pacs.dimse).store([bad, *good])
    assert answer.stored == 2
    assert [(one.what, "broke the association off" in one.reason) for one in answer.refused] == [(bad.SOPInstanceUID, True)]


def every_syntax() -> list[Dataset]:
    found = []
    for number, syntax in enumerate(map(UID, _syntaxes())):
        ds = make(HOSPITAL[0])[0]
        ds.SOPInstanceUID = derived_uid("syntax", str(number))
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax.is_encapsulated:
            ds.PixelData = encapsulate([bytes([number]) * 50])
            ds["PixelData"].VR = "OB"
        if syntax == ImplicitVRLittleEndian or syntax.is_little_endian:
            found.append(ds)
    return found


@pytest.mark.parametrize("way", ["get", "move"])
def test_every_transfer_syntax_arrives_as_stored(pacs: Orthanc, move_port: int, way: str) -> None:
    sent = {ds.SOPInstanceUID: fingerprint(encode(ds)) for ds in every_syntax()}
    archive = open_archive(f"{pacs.dimse}?retrieve={way}&listen={move_port}")
    stored = archive.store(every_syntax())
    refused = {one.what for one in stored.refused}
    files = list(archive.retrieve_files(SERIES))
    assert stored.stored == len(files) == len(sent) - len(refused) > 20, stored
    assert {one.reason.partition(" CT ")[0].partition(" over ")[0] for one in stored.refused} <= {
        "the archive does not take", "the archive broke the association off"}
    assert {fingerprint(one) for one in files} == {content for uid, content in sent.items() if uid not in refused}


def test_a_series_of_many_classes_comes_whole(pacs: Orthanc) -> None:
    classes = [f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("1", "2", "4", "6.1", "7", "128", "20", "481.1")]
    sent = []
    for number, uid in enumerate(classes):
        ds = make(HOSPITAL[0])[0]
        ds.SOPClassUID, ds.SOPInstanceUID = uid, derived_uid("class", str(number))
        sent.append(ds)
    archive = open_archive(pacs.dimse)
    assert archive.store(sent).stored == len(classes)
    assert {ds.SOPClassUID for ds in archive.retrieve(SERIES)} == set(classes)


def test_two_moves_at_once_do_not_mix(pacs: Orthanc, move_port: int) -> None:
    archive = open_archive(f"{pacs.dimse}?retrieve=move&listen={move_port}")
    archive.store([*make(HOSPITAL[1]), *make(HOSPITAL[2])])
    one, other = archive.search_series(series=[HOSPITAL[1].series_uid, HOSPITAL[2].series_uid])
    pairs = list(zip(archive.retrieve(one), archive.retrieve(other), strict=True))
    assert {(a.SeriesInstanceUID, b.SeriesInstanceUID) for a, b in pairs} == {(one.uid, other.uid)}
    assert arrivals._LISTENERS == {}


def test_an_unknown_destination_is_named(pacs: Orthanc) -> None:
    open_archive(pacs.dimse).store(make(HOSPITAL[0]))
    archive = open_archive(pacs.dimse.replace("//", "//STRANGER@") + f"?retrieve=move&listen={free_port()}")
    with pytest.raises(ArchiveRefused, match=r"does not know STRANGER as a destination at 127\.0\.0\.1"):
        list(archive.retrieve(SERIES))
    with scp(make(HOSPITAL[0])) as port, pytest.raises(ArchiveRefused, match="does not know AILAB as a destination"):
        list(at(port, f"?retrieve=move&listen={free_port()}").retrieve(SERIES))


def test_a_port_that_is_taken_is_named() -> None:
    with scp(make(HOSPITAL[0])) as port, pytest.raises(ArchiveError, match="cannot listen on 127"):
        list(at(port, f"?retrieve=move&listen={port}").retrieve(SERIES))


def test_a_server_without_get_is_moved_from_where_that_is_set_up() -> None:
    listen = free_port()
    with scp(make(HOSPITAL[0]), models=(FIND, MOVE), destination=listen) as port:
        with pytest.raises(ArchiveRefused, match=r"does not offer C-GET; add [?]retrieve=move"):
            list(at(port).retrieve(SERIES))
        assert len(list(at(port, f"?listen={listen}").retrieve(SERIES))) == 3
    with scp(make(HOSPITAL[0]), models=(FIND, GET)) as port, pytest.raises(ArchiveRefused, match="offers nothing of what was asked"):
        list(at(port, f"?retrieve=move&listen={listen}").retrieve(SERIES))


def test_a_series_that_comes_short_is_an_error_after_what_came() -> None:
    with scp(make(HOSPITAL[0]), lost=1) as port:
        came = []
        with pytest.raises(ArchiveError, match="sent 2 of the 3 instances"):
            came.extend(at(port).retrieve_files(SERIES))


def test_a_reader_that_stops_ends_the_transfer(pacs: Orthanc) -> None:
    archive = open_archive(pacs.dimse)
    archive.store(make(HOSPITAL[0]))
    files = archive.retrieve_files(SERIES)
    next(files)
    files.close()
    deadline = time.monotonic() + 5
    while (left := [one for one in threading.enumerate() if "Requestor" in one.name]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


@pytest.mark.parametrize("way", ["get", "move"])
def test_a_stream_that_nobody_ends_holds_no_exit_up(pacs: Orthanc, move_port: int, way: str) -> None:
    url = f"{pacs.dimse}?retrieve={way}&listen={move_port}"
    open_archive(url).store(make(HOSPITAL[0]))
    code = ("from ailab_kernel.archives import open_archive; from ailab_kernel.archives.dimse import arrivals; arrivals._AHEAD_BYTES = 1; "
            f"archive = open_archive({url!r}); files = archive.retrieve_files(archive.search_series()[0]); next(files)")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


@pytest.mark.parametrize("way", ["get", "move"])
def test_a_slow_reader_makes_the_peer_wait(pacs: Orthanc, move_port: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_AHEAD_BYTES", 1)
    archive = open_archive(f"{pacs.dimse}?retrieve={way}&listen={move_port}")
    archive.store(make(HOSPITAL[0]))
    came = []
    for data in archive.retrieve_files(SERIES):
        time.sleep(0.1)
        came.append(data)
    assert len(came) == 3


@pytest.mark.parametrize("header", [struct.pack(">BBI", 4, 0, 0xFFFFFFF0), struct.pack(">BBI", 9, 0, 4) + b"oops"])
def test_a_peer_that_turns_mad_in_the_middle(pacs: Orthanc, header: bytes) -> None:
    """What Orthanc answers to the association is passed on; then comes something else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection, socket.create_connection(("127.0.0.1", pacs.dicom_port)) as real:
                real.sendall(connection.recv(1 << 20))
                connection.sendall(real.recv(1 << 20))
                connection.recv(1 << 20)
                connection.sendall(header)
                connection.recv(1 << 20)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        error = refusal(at(listener.getsockname()[1], "?timeout=2", aet="ORTHANC"))
        thread.join(10)
    assert type(error) is ArchiveUnreachable


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    theirs, theirs_key = certificate(tmp_path, "pacs")
    ours, ours_key = certificate(tmp_path, "ours")
    settings = {"DicomTlsEnabled": True, "DicomTlsCertificate": str(theirs), "DicomTlsPrivateKey": str(theirs_key),
                "DicomTlsTrustedCertificates": str(ours)}
    with orthanc(tmp_path / "orthanc", settings=settings) as server:
        url = server.dimse.replace("dimse:", "dimse+tls:")
        archive = open_archive(f"{url}?ca={theirs}&cert={ours}&key={ours_key}&timeout=5")
        assert archive.store(make(HOSPITAL[0])).stored == 3
        assert len(list(archive.retrieve(SERIES))) == 3
        for options in (f"?cert={ours}&key={ours_key}&timeout=2", f"?ca={theirs}&timeout=2"):
            error = refusal(open_archive(url + options))
            assert type(error) is ArchiveUnreachable
            assert "trust each other's certificates" in str(error)
        assert type(refusal(open_archive(server.dimse + "?timeout=1"))) is ArchiveUnreachable


def test_move_over_tls_needs_a_certificate_of_our_own() -> None:
    from ailab_kernel.archives.dimse.peer import Tls

    with pytest.raises(SettingsError, match="C-MOVE over TLS needs a certificate"):
        Tls().context(serving=True)
    assert Tls().context().verify_mode is ssl.CERT_REQUIRED


def test_what_dcmtk_sends_is_found_and_read(pacs: Orthanc, tmp_path: Path) -> None:
    need_service("storescu", package="dcmtk")
    sent = make(HOSPITAL[0])
    for number, ds in enumerate(sent):
        (tmp_path / f"{number}.dcm").write_bytes(encode(ds))
    subprocess.run(["storescu", "-aec", "ORTHANC", "+sd", "127.0.0.1", str(pacs.dicom_port), str(tmp_path)], check=True,
                   env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"}, timeout=60)
    archive = open_archive(pacs.dimse)
    back = {ds.SOPInstanceUID: ds.PixelData for ds in archive.retrieve(archive.search_series()[0])}
    assert back == {ds.SOPInstanceUID: ds.PixelData for ds in sent}
    assert archive.store(sent).already == 3
