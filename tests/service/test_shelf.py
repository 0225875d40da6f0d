"""A shelf behind HTTP: two labs on loopback, over TLS with tokens, and everybody whom the door turns away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler

import pytest
import requests

from ailab_kernel.ground.errors import CatalogError, SettingsError, WrongUse
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.remote_catalog import RemoteCatalog
from ailab_kernel.ground.seal import fingerprint, signed_by
from ailab_kernel.ground.tls import server_context
from ailab_kernel.models import Models
from ailab_kernel.models.sharing import Trusted, check_index, open_shelf, push
from ailab_kernel.models.sharing.shelf import object_path
from ailab_kernel.reports.evidence_pack import check_evidence, write_evidence
from ailab_kernel.service.shelf import READ, WRITE, ShelfDesk, ShelfServer
from ailab_kernel.workspace import open_workspace
from tests.cli.running import ailab
from tests.models.test_bundle import make_bundle
from tests.models.test_sharing import Lab
from tests.service.serving import serving, token
from tests.services import http_server
from tests.tls import certificate


@contextmanager
def open_door(folder, *trusted, tokens=None, tls=None):
    desk = ShelfDesk(folder, tuple(Trusted(one.name, one.key) for one in trusted), tokens or {b"pen": WRITE})
    server = ShelfServer(desk, host="127.0.0.1", port=0, tls=tls)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server._server.started and thread.is_alive():
            time.sleep(0.01)
        yield server.url
    finally:
        server.stop()
        thread.join(30)


@pytest.fixture
def north(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("PEN", "pen")
    lab = Lab(tmp_path / "north", "north-hospital")
    lab.models.import_bundle(make_bundle(tmp_path / "a"))
    return lab


@pytest.fixture
def south(north, tmp_path):
    return Lab(tmp_path / "south", "south-hospital").trust(north)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "shelf"
    place.mkdir()
    return place


def test_two_labs_over_tls_with_tokens(north, south, folder, tmp_path, monkeypatch):
    cert, key = certificate(tmp_path, "door")
    key.chmod(0o600)
    monkeypatch.setenv("EYE", "eye")
    tls = server_context(str(cert), f"file:{key}", what=("--cert", "--key"))
    with open_door(folder, north, tokens={b"pen": WRITE, b"eye": READ}, tls=tls) as url:
        north.push("tiny", f"{url}?token_env=PEN&ca={cert}")
        assert south.pull("tiny", f"{url}?token_env=EYE&ca={cert}").digest == north.models.get("tiny").digest
        with pytest.raises(CatalogError, match=r"does not answer .*certificate"):
            south.pull("tiny", f"{url}?token_env=EYE")
        with pytest.raises(CatalogError, match=r"refused \(401\): a token is expected"):
            south.search(f"{url}?ca={cert}")
        with pytest.raises(CatalogError, match=r"refused \(403\): this token only reads"):
            north.push("tiny", f"{url}?token_env=EYE&ca={cert}")
        with pytest.raises(SettingsError, match="environment variable NOBODY, which is not set"):
            south.search(f"{url}?ca={cert}&token_env=NOBODY")


def test_any_web_server_can_serve_the_folder(north, south, folder):
    north.push("tiny", folder)

    class Plain(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            pass

    with http_server(Plain) as url:
        assert south.pull("tiny", url).ref == "tiny@1"
        with pytest.raises(CatalogError, match=r"refused \(501\)"):
            north.push("tiny", url)


def test_the_door_takes_only_what_is_whole_signed_trusted_and_newer(north, south, folder):
    with open_door(folder, north) as url:
        pen = {"Authorization": "Bearer pen"}
        place = f"{url}/{fingerprint(north.key)}/index.json"
        north.push("tiny", f"{url}?token_env=PEN")
        old = requests.get(place, timeout=10).content
        north.push("tiny", f"{url}?token_env=PEN")
        assert requests.put(place, old, timeout=10).status_code == 401
        answer = requests.put(place, old, headers=pen, timeout=10)
        assert (answer.status_code, answer.json()["detail"]) == (
            409, "number 1 of north-hospital is not newer than 2, which is here")
        south.models.import_bundle(north.models.export("tiny", folder.parent / "out"))
        with pytest.raises(CatalogError, match=r"refused \(403\): the lab with fingerprint .* may not offer here"):
            south.push("tiny", f"{url}?token_env=PEN")
        told = json.loads(old)
        told["index"]["sequence"] = 8
        assert "does not bear its signature" in requests.put(place, json.dumps(told), headers=pen, timeout=10).json()["detail"]
        told["signature"] = north.catalog.sign(canonical_json(told["index"]))
        assert requests.put(place, json.dumps(told), headers=pen, timeout=10).status_code == 200
        lost = sha256(b"lost")
        told["index"]["models"][0]["body"]["files"]["docs/lost.md"], told["index"]["sequence"] = lost, 9
        told["index"]["models"][0]["sizes"]["docs/lost.md"] = 4
        told["signature"] = north.catalog.sign(canonical_json(told["index"]))
        assert "docs/lost.md is not here yet" in requests.put(place, json.dumps(told), headers=pen, timeout=10).json()["detail"]
        assert requests.put(f"{url}/{object_path(lost)}", b"other", headers=pen, timeout=10).status_code == 409
        assert requests.put(place, b"x" * (5 << 20), headers=pen, timeout=10).status_code == 413
        before = sorted(str(one) for one in folder.parent.rglob("*"))
        for path in ("../evil", "objects/../../evil", "objects/zz/" + "0" * 62, "objects/aa/%2e%2e%2fevil", "spool/x", "labs.json"):
            assert requests.put(f"{url}/{path}", b"x", headers=pen, timeout=10).status_code in {404, 405, 422}
            assert requests.get(f"{url}/{path}", timeout=10).status_code in {404, 405, 422} or path == "labs.json"
        assert sorted(str(one) for one in folder.parent.rglob("*")) == before


def test_a_redirect_and_an_endless_answer_are_given_up(south):
    class Tricks(SimpleHTTPRequestHandler):
        def do_GET(self):
            if "index.json" in self.path:
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b" " * 65536)
                except OSError:
                    return
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http_server(Tricks) as url:
        with pytest.raises(CatalogError, match=r"index\.json is larger than the 4194304 bytes"):
            south.search(url)
        with pytest.raises(CatalogError, match=r"refused \(302\)"):
            open_shelf(url).get("labs.json", most=10)
    with pytest.raises(CatalogError, match="does not answer"):
        south.search(url)


def test_others_than_this_machine_need_tls_and_a_token(folder):
    with pytest.raises(SettingsError, match="can be reached by others: give --cert, --key and --read-token"):
        ShelfServer(ShelfDesk(folder, (), {b"pen": WRITE}), host="0.0.0.0", port=0)


def test_the_trusted_service_signs_an_index_of_the_labs_own_models_only(workspace, tmp_path, monkeypatch, folder):
    monkeypatch.setenv("AILAB_SERVICE_TOKEN", token("data-scientist"))
    (tmp_path / "service").mkdir()
    with serving(tmp_path / "service") as house:
        catalog = RemoteCatalog(house.url, token_env="AILAB_SERVICE_TOKEN", cache=tmp_path / "cache")
        Models(catalog).import_bundle(make_bundle(tmp_path / "a"))
        index = push(catalog, "tiny", open_shelf(str(folder)), lab="east-hospital")
        assert catalog.public_key() == house.desk.realms.lab.public_key() == index.key
        there = (folder / index.fingerprint / "index.json").read_bytes()
        assert check_index(there, key=index.key, lab="east-hospital").offers
        assert signed_by(index.key, index.signed_part(), json.loads(there)["signature"])
        told = json.loads(index.signed_part())
        told["models"][0]["digest"] = "0" * 64
        with pytest.raises(WrongUse, match="tiny@1 is no model of this lab by that digest"):
            catalog.sign(canonical_json(told))
        for text in (b"x", b"[]", b'{"kind": "ailab-model-index"}', b'{"kind": "other", "models": []}'):
            with pytest.raises(WrongUse, match="only the manifest of a finished report is sealed here"):
                catalog.sign(text)
        line = next(one for one in house.ask("auditor", "GET", "catalog/audit").json() if one["event"] == "service.signed")
        assert (line["by"], json.loads(line["detail"])["template"]) == ("data-scientist", "ailab-model-index")
        other = Lab(tmp_path / "other", "other")
        other.trusts = [Trusted("east-hospital", index.key)]
        assert other.pull("tiny", folder).ref == "tiny@1"


def test_the_trusted_service_signs_an_evidence_pack_and_says_who_may_read_the_trail(workspace, tmp_path, monkeypatch):
    (tmp_path / "service").mkdir()
    with serving(tmp_path / "service") as house:
        monkeypatch.setenv("AILAB_SERVICE", house.url)
        for role, said in (("data-scientist", "was not read: read-audit is not for data-scientist"), ("admin", "as it was written")):
            monkeypatch.setenv("AILAB_SERVICE_TOKEN", token(role))
            lab = open_workspace(tmp_path, home=tmp_path / role)
            Models(lab.catalog).import_bundle(tmp_path / "a" if role == "admin" else make_bundle(tmp_path / "a"))
            path = write_evidence(lab, "tiny@1", tmp_path / f"{role}.zip")
            assert check_evidence(path, fingerprint=fingerprint(lab.catalog.public_key()))[1] == ()
            with zipfile.ZipFile(path) as members:
                assert said in members.read("evidence-tiny-1/index.html").decode()


@pytest.mark.slow
def test_the_command_serves_a_shelf_and_ends_when_told(north, south, tmp_path, monkeypatch):
    code = "import sys; sys.argv = ['ailab', *sys.argv[1:]]; from ailab_kernel.cli.main import main; main()"
    words = ["models", "serve", "shelf", "--listen", "127.0.0.1:0", "--write-token", "env:PEN", "--json"]
    with subprocess.Popen([sys.executable, "-c", code, *words], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                          env=os.environ | {"AILAB_HOME": str(tmp_path / "north")}) as serving_it:
        try:
            url = json.loads("".join(iter(serving_it.stdout.readline, "}\n")) + "}")["url"]
            for _ in range(100):
                try:
                    requests.get(f"{url}/labs.json", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.1)
            north.push("tiny", f"{url}?token_env=PEN")
            assert south.pull("tiny", url).ref == "tiny@1"
        finally:
            serving_it.send_signal(signal.SIGINT)
        assert serving_it.wait(60) == 0


@pytest.mark.parametrize(("words", "why"), [
    (["--listen", "8765"], "ADDRESS:PORT is expected"), (["--cert", "x.pem"], "--cert and --key belong together"),
    (["--write-token", "secret"], "where the secret is, not the secret itself"),
    (["--listen", "0.0.0.0:0"], "can be reached by others"),
])  # fmt: skip
def test_wrong_use_of_the_command(workspace, tmp_path, capsys, words, why):
    assert ailab("models", "serve", tmp_path / "shelf", *words) == 2
    assert why in capsys.readouterr().err
