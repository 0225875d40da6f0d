"""The audit trail: every edit is found, every action is one valid message, and it reaches a log server by TLS."""

import json
import random
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.ground.audit_messages import EVENTS, message
from ailab_kernel.ground.errors import CatalogError, SettingsError
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.syslog import Collector, frame
from tests.ground.test_catalog import open_catalog
from tests.services import need_service
from tests.tls import certificate

LINES, COLUMNS = 12, ("at", "by", "event", "detail", "chain")


def schema():
    from lxml import etree

    return etree.RelaxNG(etree.parse(Path(__file__).parents[1] / "data" / "audit-message.rng"))


def valid(data: bytes) -> ElementTree.Element:
    from lxml import etree

    rules = schema()
    rules.assertValid(etree.fromstring(data))
    return ElementTree.fromstring(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trail")
    catalog = open_catalog(folder)
    for number in range(LINES):
        catalog.audit("archive-search", level="studies", found=str(number))
    return folder


@contextmanager
def table(folder):
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as db, db:
        yield db


def rows(db) -> list[tuple]:
    return db.execute('SELECT seq, "at", "by", event, detail, chain FROM audit ORDER BY seq').fetchall()


def write(db, lines: list[tuple]) -> None:
    db.execute("DELETE FROM audit")
    db.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", lines)


def computed_anew(lines: list[tuple]) -> list[tuple]:
    """What somebody with the program, and without the key, would do to hide an edit."""
    chain, out = "", []
    for number, line in enumerate(lines, 1):
        told = dict(zip(("seq", *COLUMNS[:-1]), (number, *line[1:5]), strict=True))
        chain = sha256(canonical_json(told) + chain.encode())
        out.append((*told.values(), chain))
    return out


def edited(lines: list[tuple], chance: random.Random) -> list[tuple]:
    number, other = chance.sample(range(len(lines)), 2)
    lines = list(lines)
    how = chance.choice(["edit", "delete", "insert", "move", "cut", "forget"])
    if how == "edit":
        column = chance.randrange(1, 6)
        line = list(lines[number])
        line[column] = line[column][:-1] + chr((ord(line[column][-1]) + 1 - 32) % 90 + 32)
        lines[number] = tuple(line)
    elif how == "delete":
        del lines[number]
    elif how == "insert":
        lines.insert(number, (0, *lines[other][1:]))
    elif how == "move":
        lines[number], lines[other] = (lines[number][0], *lines[other][1:]), (lines[other][0], *lines[number][1:])
        if lines[number][1:] == lines[other][1:]:
            del lines[number]
    elif how == "cut":
        del lines[chance.randrange(len(lines)):]
    else:
        lines = []
    if chance.random() < 0.5:
        return computed_anew(lines)
    return [(place, *line[1:]) for place, line in enumerate(lines, 1)] if chance.random() < 0.5 or how == "insert" else lines


def test_every_edit_is_found(written):
    catalog, chance, missed = open_catalog(written), random.Random(5), []
    assert catalog.audit_findings() == ()
    with table(written) as db:
        whole = rows(db)
    for number in range(100):
        while (now := edited(whole, chance)) == whole:
            continue                               # a chain that is edited and then computed anew is the old one
        with table(written) as db:
            write(db, now)
        if not catalog.audit_findings():
            missed.append(number)
    with table(written) as db:
        write(db, whole)
    sys.stdout.write(f"\n100 edits of the trail, {100 - len(missed)} found\n")
    assert missed == []
    assert catalog.audit_findings() == ()


def test_a_trail_that_was_cut_off_is_found_however_long_it_grows(tmp_path):
    catalog = open_catalog(tmp_path)
    for number in range(6):
        catalog.audit("import", n=str(number))
    with table(tmp_path) as db:
        write(db, computed_anew(rows(db)[:3]))
    for number in range(10):
        catalog.audit("import", n=str(number))
    assert catalog.audit_findings() == ("line 6 is not the one that was signed: the chain was computed anew",)
    catalog.accept_trail("restored from the backup of Monday")
    assert catalog.audit_findings() == ()
    assert "computed anew" in catalog.audit_trail()[-1]["detail"], "what was accepted stands in the trail"


@pytest.mark.parametrize(("harm", "told"), [
    (lambda path: path.unlink(), "no line is signed"),
    (lambda path: path.write_text("{}"), "does not bear"),
    (lambda path: path.write_text(path.read_text().replace('"seq":2', '"seq":1')), "does not bear"),
])  # fmt: skip
def test_a_trail_without_its_anchor_is_told_and_stays_told(tmp_path, harm, told):
    catalog = open_catalog(tmp_path)
    for number in range(2):
        catalog.audit("import", n=str(number))
    harm(tmp_path / "audit.anchor")
    catalog.audit("import", n="3")
    assert told in catalog.audit_findings()[0]


@pytest.mark.parametrize("event", [*EVENTS, "service.started", "service.signed", "something-else"])
def test_every_event_is_one_valid_message(event):
    line = {"seq": 7, "at": "2026-01-02T03:04:05+00:00", "by": "anna", "event": event,
            "detail": json.dumps({"study": "1.2.3", "series": "1.2.3.4,1.2.3.5", "stored": "2"})}  # fmt: skip
    root = valid(message(line, source="ailab.hospital.example"))
    code = root.find("EventIdentification/EventID").attrib
    assert code["codeSystemName"] == ("99AILAB" if event in {"service.signed", "something-else"} else "DCM")
    assert [one.get("UserIsRequestor") for one in root.findall("ActiveParticipant")] == ["true", "false"]


@given(st.text(max_size=40), st.text(max_size=20), st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=30)))
def test_no_text_breaks_a_message(user, event, detail):
    line = {"seq": 1, "at": "2026-01-02T03:04:05+00:00", "by": user, "event": event, "detail": json.dumps(detail)}
    valid(message(line, source="ailab"))


@contextmanager
def log_server(folder, *, asks: bool = False):
    """A TLS server that keeps what it reads, frame by frame (RFC 5425)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(folder, "server"))
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate(folder, "client")[0])
    frames: list[bytes] = []

    def _serve(door) -> None:
        while True:
            try:
                with context.wrap_socket(door.accept()[0], server_side=True) as stream, stream.makefile("rb") as file:
                    while size := b"".join(iter(lambda: file.read(1).strip(), b"")):
                        frames.append(file.read(int(size)))
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=_serve, args=(door,))
        thread.start()
        try:
            yield door.getsockname()[1], frames
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_the_trail_reaches_a_log_server(written, tmp_path):
    trail = open_catalog(written).audit_trail()
    with log_server(tmp_path, asks=True) as (port, frames):
        ca, mine = tmp_path / "server.pem", (tmp_path / "client.pem", tmp_path / "client.key")
        assert Collector("127.0.0.1", port, ca, *mine).send(trail, source="ailab") == LINES
        for wrong in (Collector("127.0.0.1", port, mine[0], *mine), Collector("localhost", port, ca, *mine),
                      Collector("127.0.0.1", port, ca)):
            with pytest.raises(CatalogError, match="did not take"):
                wrong.send(trail, source="ailab")
    assert len(frames) == LINES
    for one in frames:
        head, _, text = one.partition(b"\xef\xbb\xbf")
        assert head.startswith(b"<85>1 2")
        assert head.endswith(b" DICOM+RFC3881 - ")
        assert valid(text).find("EventIdentification/EventID").get("csd-code") == "110112"


def test_a_certificate_that_cannot_be_used_is_told(written, tmp_path):
    with pytest.raises(SettingsError, match="PEM"):
        Collector("localhost", 6514, tmp_path / "none.pem").send([], source="x")
    assert frame(open_catalog(written).audit_trail()[0], source="ä b").split(b" ")[3] == b"b"


RSYSLOG = """
global(workDirectory="{folder}" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{folder}/client.pem"
       defaultNetstreamDriverCertFile="{folder}/server.pem" defaultNetstreamDriverKeyFile="{folder}/server.key"
       maxMessageSize="64k")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="whole" type="string" string="%syslogfacility-text% %syslogseverity-text% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{folder}/received" template="whole")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/port")
"""


def test_a_real_rsyslog_takes_the_trail(written, tmp_path):
    need_service("rsyslogd", "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so", package="rsyslog rsyslog-gnutls")
    certificate(tmp_path, "server")
    ca, key = certificate(tmp_path, "client")
    (tmp_path / "conf").write_text(RSYSLOG.format(folder=tmp_path))
    running = subprocess.Popen(["rsyslogd", "-n", "-f", tmp_path / "conf", "-i", tmp_path / "pid"], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 20
        while not (tmp_path / "port").is_file() or not (tmp_path / "port").read_text():
            assert running.poll() is None, running.stderr.read().decode()
            assert time.monotonic() < until
            time.sleep(0.1)
        port = int((tmp_path / "port").read_text())
        trail = open_catalog(written).audit_trail()
        assert Collector("127.0.0.1", port, tmp_path / "server.pem", ca, key).send(trail, source="ailab") == LINES
        while not (tmp_path / "received").is_file() or (tmp_path / "received").read_text().count("\n") < LINES:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        running.terminate()
        running.communicate(timeout=20)
    lines = (tmp_path / "received").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == LINES
    for line in lines:
        head, _, text = line.partition("<AuditMessage>")
        assert head.split()[:4] == ["authpriv", "notice", "ailab", "DICOM+RFC3881"]
        valid(b"<AuditMessage>" + text.encode())
