"""The service's own TLS: its certificate by setting, its key by reference, clients that trust the lab's authority only."""

import os
import socket
import ssl
import subprocess
import sys

import pytest
import requests

from ailab_kernel.ground.errors import AilabError, SettingsError
from ailab_kernel.workspace import open_workspace
from tests.archives.samples import hospital
from tests.service.serving import bare, free_port, process, token, token_file
from tests.tls import certificate


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate(folder, "server")
    key.chmod(0o600)
    return cert, key, certificate(folder, "another")[0]


def test_catalog_and_archive_over_tls(made, tmp_path, workspace, monkeypatch):
    cert, key, another = made
    with process(tmp_path, ca=cert, AILAB_SERVICE_CERT=str(cert), AILAB_SERVICE_KEY=f"file:{key}") as house:
        for name, value in {"SERVICE": house.url, "SERVICE_TOKEN": token("admin"), "SERVICE_CA": str(cert)}.items():
            monkeypatch.setenv(f"AILAB_{name}", value)
        opened = open_workspace(tmp_path)
        assert opened.catalog.get(opened.catalog.put(b"an object")) == b"an object"
        assert opened.archive.store(hospital()).stored == 13
        assert len(opened.archive.search()) == 4
        context, port = ssl.create_default_context(cafile=str(cert)), int(house.url.split(":")[2].split("/")[0])
        with (
            socket.create_connection(("127.0.0.1", port)) as link,
            context.wrap_socket(link, server_hostname="127.0.0.1") as safe,
        ):
            assert safe.version() == "TLSv1.3"
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(house.url.replace("https:", "http:") + "/health", timeout=10)
        for wrong in ("", str(another)):
            monkeypatch.setenv("AILAB_SERVICE_CA", wrong)
            monkeypatch.setattr("ailab_kernel.ground.remote_catalog._PAUSES_S", ())
            with pytest.raises(AilabError, match="SSLError"):
                open_workspace(tmp_path).catalog.audit_findings()
            with pytest.raises(AilabError):
                open_workspace(tmp_path).archive.search()
    assert "Traceback" not in (tmp_path / "service.log").read_text()


def test_the_key_may_come_from_the_environment(made, tmp_path):
    cert, key, _ = made
    with process(tmp_path, ca=cert, AILAB_SERVICE_CERT=str(cert), AILAB_SERVICE_KEY="env:THE_KEY",
                 THE_KEY=key.read_text()) as house:
        assert house.ask("admin", "GET", "catalog/whoami").ok


def test_an_authority_that_is_not_there_is_told(workspace, tmp_path, monkeypatch):
    for name, value in {"SERVICE": "https://127.0.0.1:9/x", "SERVICE_TOKEN": "t", "SERVICE_CA": "none.pem"}.items():
        monkeypatch.setenv(f"AILAB_{name}", value)
    with pytest.raises(SettingsError, match=r"service_ca = 'none.pem': there is no such file"):
        open_workspace(tmp_path).catalog  # noqa: B018 - opening it is the test


def test_where_an_authority_is_named_no_token_goes_out_in_the_clear(made, tmp_path, monkeypatch):
    for name, value in {"SERVICE": "http://127.0.0.1:9/x", "SERVICE_TOKEN": "t", "SERVICE_CA": str(made[0])}.items():
        monkeypatch.setenv(f"AILAB_{name}", value)
    with pytest.raises(SettingsError, match=r"'http://127.0.0.1:9/x': https:// is expected, since service_ca is set"):
        open_workspace(tmp_path)


@pytest.mark.parametrize(("scheme", "given", "says"), [
    ("https", {}, "belong together"),
    ("https", {"CERT": "cert"}, "belong together"),
    ("http", {"CERT": "cert", "KEY": "file:key"}, "belong together"),
    ("https", {"CERT": "cert", "KEY": "key"}, "where the secret is, not the secret itself"),
    ("https", {"CERT": "cert", "KEY": "file:open"}, "chmod 600"),
    ("https", {"CERT": "another", "KEY": "file:key"}, "its own key"),
    ("https", {"CERT": "none", "KEY": "file:key"}, "cannot be used"),
])  # fmt: skip
def test_half_a_pair_is_said(made, tmp_path, scheme, given, says):
    cert, key, another = made
    (tmp_path / "open").write_text("x")
    places = {"cert": cert, "key": key, "another": another, "open": tmp_path / "open"}
    told = {f"AILAB_SERVICE_{name}": ":".join(str(places.get(part, part)) for part in value.split(":"))
            for name, value in given.items()}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ailab_kernel.service", "--token-file", str(token_file(tmp_path)), "--listen",
         f"{scheme}://127.0.0.1:{free_port()}"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        env=bare() | told | {"AILAB_HOME": str(tmp_path / "lab")})  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert os.environ.get("AILAB_SERVICE_KEY") is None
