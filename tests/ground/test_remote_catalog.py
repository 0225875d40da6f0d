"""The catalog over HTTP: what the one in this process does, and what only a network can get wrong."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from ailab_kernel.ground import remote_catalog
from ailab_kernel.ground.errors import AilabError, CatalogError, NotFound, SealBroken, SettingsError, WrongUse
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from tests.ground.test_catalog import (  # noqa: F401 - the same tests, asked of this module's catalog
    test_aliases_have_a_history,
    test_the_audit_trail_is_a_chain,
    test_the_ledger,
)
from tests.service.serving import MANIFEST, House, free_port, process, serving, token
from tests.services import http_server


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    with serving(tmp_path) as running:
        yield running


def seen_by(role: str, house: House, monkeypatch, folder) -> RemoteCatalog:
    monkeypatch.setenv(f"TOKEN_{role.upper()}", token(role))
    return RemoteCatalog(house.url, token_env=f"TOKEN_{role.upper()}", cache=folder / "cache" / role)


@pytest.fixture
def catalog(house, monkeypatch, tmp_path) -> RemoteCatalog:
    return seen_by("admin", house, monkeypatch, tmp_path)


def test_keys(catalog, house):
    signature = catalog.sign(MANIFEST)
    assert catalog.verify(MANIFEST, signature)
    assert not catalog.verify(b"reporu", signature)
    assert not catalog.verify(MANIFEST, "no signature")
    assert house.desk.realms.lab.verify(MANIFEST, signature)
    assert catalog.pseudonym("patient", "A") == catalog.pseudonym("patient", "A") != catalog.pseudonym("series", "A")
    assert catalog.pseudonym("patient", "Müller^Jürgen") == house.desk.realms.lab.pseudonym("patient", "Müller^Jürgen")
    assert catalog.roles_enforced


def test_objects(catalog, house, monkeypatch, tmp_path):
    file = tmp_path / "object"
    file.write_bytes(bytes(range(256)) * 5000)
    digest = catalog.put(file)
    assert digest == sha256(file.read_bytes()) == catalog.put(file.read_bytes())
    elsewhere = seen_by("auditor", house, monkeypatch, tmp_path)
    assert elsewhere.get(digest) == elsewhere.path(digest).read_bytes() == file.read_bytes()
    elsewhere.check(digest)
    assert catalog.get(catalog.put(b"")) == b""
    for ask in (catalog.get, catalog.path, catalog.check):
        with pytest.raises(NotFound, match="is not in the store"):
            ask("0" * 64)
    for ask in (catalog.get, catalog.path, catalog.check):
        with pytest.raises(AilabError):
            ask("../../etc/passwd")


def test_bytes_that_changed_are_told(catalog, house, monkeypatch, tmp_path):
    digest = catalog.put(b"whole")
    path = house.desk.realms.lab.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"other")
    elsewhere = seen_by("auditor", house, monkeypatch, tmp_path)
    with pytest.raises(SealBroken, match="arrived with other bytes"):
        elsewhere.get(digest)
    with pytest.raises(SealBroken, match="changed on the disk"):
        catalog.check(digest)


def test_a_damaged_copy_on_this_side_is_fetched_again(catalog):
    digest = catalog.put(b"whole")
    for ask in (catalog.get, lambda one: (catalog.check(one), catalog.path(one).read_bytes())[1]):
        path = catalog.path(digest)
        path.chmod(0o644)
        path.write_bytes(b"other")
        assert ask(digest) == b"whole"


def test_records_are_equal_on_both_sides(catalog, house):
    body = {"dice": 0.1 + 0.2, "big": 1e22, "tiny": 5e-324, "minus": -0.0, "text": "ä\u2028\U0001f9e0", "none": None,
            "list": (1, 2.0, True), "deep": {"b": [], "a": {}}, "numbers": {10: "ten", 9: "nine"}}  # fmt: skip
    record = catalog.append("note", body, name="all")
    here, = house.desk.realms.lab.query("note")
    assert here == record == catalog.query("note", digest=record.digest)[0]
    assert record.made_by == "admin"
    assert catalog.append("note", body, name="all") == record
    for bad in ({"n": float("nan")}, {"n": object()}):
        with pytest.raises((ValueError, TypeError)):
            catalog.append("note", bad)


def test_errors_come_back_as_they_were(catalog, house, monkeypatch, tmp_path):
    with pytest.raises(NotFound, match="note x has no alias @best; it has none"):
        catalog.resolve("note", "x", "best")
    with pytest.raises(NotFound, match="has no record"):
        catalog.point("note", "x", "best", digest="0" * 64)
    with pytest.raises(WrongUse, match="digest does not fit"):
        catalog.point("note", "x", "best", digest="../x")
    auditor = seen_by("auditor", house, monkeypatch, tmp_path)
    for act in (lambda: auditor.sign(MANIFEST), lambda: auditor.append("note", {}), lambda: auditor.put(b"new" * 100_000),
                lambda: auditor.point("note", "x", "best", digest="0" * 64), lambda: auditor.pseudonym("patient", "A"),
                lambda: auditor.audit("import")):  # fmt: skip
        with pytest.raises(CatalogError, match="is not for auditor"):
            act()
    with pytest.raises(CatalogError, match="this token opens nothing here"):
        RemoteCatalog(house.url, token_env="TOKEN_THAT_IS_NOT_SET", cache=tmp_path).query("note")


def test_writers_share_numbers_without_gaps_or_doubles(catalog, house):
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda n: catalog.append("model", {"n": n}, name="one"), range(40)))
    assert sorted(record.version for record in records) == list(range(1, 41))


def test_a_killed_service_loses_nothing_and_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(remote_catalog, "_PAUSES_S", (0.5,) * 40)
    monkeypatch.setenv("TOKEN_ADMIN", token("admin"))
    port, kept = free_port(), []

    def write(catalog: RemoteCatalog) -> None:
        for number in range(60):
            kept.append(catalog.append("model", {"n": number}, name="one"))
            time.sleep(0.02)

    with process(tmp_path, port=port) as first, ThreadPoolExecutor(1) as pool:
        catalog = RemoteCatalog(first.url, token_env="TOKEN_ADMIN", cache=tmp_path / "cache")
        writing = pool.submit(write, catalog)
        while len(kept) < 20:
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        with process(tmp_path, port=port):
            writing.result(60)
            assert catalog.query("model", name="one") == kept
    assert [record.version for record in kept] == list(range(1, 61))


@contextmanager
def answering(*statuses: int, body: bytes = b"[]") -> Iterator[tuple[str, list[str]]]:
    """A service that answers so, one status after the other, the last one for ever."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = statuses[min(len(asked), len(statuses) - 1)]
            asked.append(f"{self.command} {self.path.partition('?')[0]} {self.headers['Authorization']}")
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/login")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *args):
            """Stay quiet."""

    with http_server(Handler) as base:
        yield f"{base}/services/ailab", asked


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(remote_catalog, "_PAUSES_S", (0.01, 0.02, 0.03))
    monkeypatch.setenv("TOKEN", "secret")


def test_what_may_be_asked_twice_is_asked_again(quick, tmp_path):
    with answering(503, 502, 200) as (url, asked):
        assert RemoteCatalog(url, token_env="TOKEN", cache=tmp_path).query("model") == []
        assert asked == ["GET /services/ailab/catalog/records token secret"] * 3


@pytest.mark.parametrize("act", [
    lambda catalog: catalog.point("model", "x", "best", digest="0" * 64), lambda catalog: catalog.audit("import"),
])
def test_what_may_not_is_sent_once(quick, tmp_path, act):
    with answering(503) as (url, asked), pytest.raises(CatalogError, match="HTTP 503"):
        act(RemoteCatalog(url, token_env="TOKEN", cache=tmp_path))
    assert len(asked) == 1


def test_a_service_that_is_away_is_told(quick, tmp_path):
    with pytest.raises(CatalogError, match=r"service at 127\.0\.0\.1:1 does not answer"):
        RemoteCatalog("http://127.0.0.1:1/services/ailab", token_env="TOKEN", cache=tmp_path).query("model")
    for statuses, body in (((200,), b"<html>login</html>"), ((302,), b""), ((500,), b"oops"), ((404,), b"{}")):
        with answering(*statuses, body=body) as (url, asked), pytest.raises(CatalogError) as told:
            RemoteCatalog(url, token_env="TOKEN", cache=tmp_path).query("model")
        assert "secret" not in str(told.value)
        assert len(asked) == 1, "a redirection is not followed with the token"


@pytest.mark.parametrize("name", ["KeyError", "SystemExit", "AilabError", "os", "__builtins__"])
def test_only_errors_of_the_house_come_back(quick, tmp_path, name):
    body = json.dumps({"error": name, "message": "why"}).encode()
    with answering(400, body=body) as (url, _), pytest.raises(AilabError, match="why"):
        RemoteCatalog(url, token_env="TOKEN", cache=tmp_path).query("model")


@pytest.mark.parametrize("url", ["ftp://host/x", "127.0.0.1:8000", "http:///x", "file:///etc/passwd"])
def test_an_address_that_is_none(tmp_path, url):
    with pytest.raises(SettingsError, match="is no address"):
        RemoteCatalog(url, token_env="TOKEN", cache=tmp_path)


def test_an_object_that_is_too_large_is_not_sent(catalog, monkeypatch):
    from ailab_kernel.service import bodies

    monkeypatch.setattr(bodies, "OBJECT_BYTES", 1000)
    with pytest.raises(CatalogError, match="1001 bytes, more than the 1000 accepted"):
        catalog.put(bytes(1001))


def test_no_proxy_of_the_environment_sees_the_token(catalog, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert catalog.query("model") == []
