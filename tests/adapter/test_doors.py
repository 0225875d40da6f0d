"""What adapter.toml says of the web's door: what is wrong is named in one line, and secrets stay where they are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ailab_kernel.adapter.rules import read_plan
from ailab_kernel.adapter.running import check
from ailab_kernel.ground.errors import MissingExtra, SettingsError
from tests.adapter.webbing import TOKENS, curl, house, plan_of
from tests.services import need_service
from tests.tls import certificate


@pytest.mark.parametrize(("before", "after", "said"), [
    ("asker.token", "absent.token", "web: web.bearer asker: token: "),
    ("asker.token", "short.token", "web: web.bearer asker: token: at least 20 characters"),
    ("asker.token", "pacs.token", "web: web.bearer asker: token: at least 20 characters that no other bearer has"),
    ("asker.token", "open.token", "can be read by others than its owner"),
    ('token = "file:', 'token = "', "where the secret is, not the secret itself"),
    ('name = "asker"', 'name = "pacs"', "two of web.bearer have the same name"),
    ('may = ["infer"]', 'may = ["rule"]', "web.bearer.1.may.0"),
    ('may = ["infer"]', "may = []", "web.bearer.1.may"),
    ('[web]\nlisten = "127.0.0.1:0"', '[web]\nlisten = "8443"', "web.listen = '8443' is no place"),
    ("web.key", "absent.key", "web.tls: web.tls.key: "),
])  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, before, after, said):
    plan, _ = plan_of(tmp_path)
    for name, text, mode in (("short", "1234", 0o600), ("open", "x" * 40, 0o644)):
        (tmp_path / f"{name}.token").write_text(text)
        (tmp_path / f"{name}.token").chmod(mode)
    plan.write_text(plan.read_text().replace(before, after))
    with pytest.raises(SettingsError) as told:
        check(plan)
    assert said in str(told.value)
    assert str(told.value).startswith("adapter.toml: ")
    assert not any(token in str(told.value) for token in TOKENS.values())


@pytest.mark.parametrize(("listen", "fine"), [("127.0.0.1:0", True), ("[::1]:0", True), ("localhost:0", True),
                                             ("0.0.0.0:0", False), ("10.1.2.3:8443", False), ("pacs.example:8443", False)])
def test_tokens_go_over_no_network_in_the_open(tmp_path, listen, fine):
    path = tmp_path / "adapter.toml"
    path.write_text(f'[web]\nlisten = "{listen}"\n')
    if fine:
        assert check(path).web.tls is None
        return
    with pytest.raises(SettingsError, match="would be there for all to read"):
        check(path)


@pytest.mark.parametrize(("told", "said"), [
    ('token = "file:{0}/absent.token"', "web: web.hub.token: "), ('token = "file:{0}/pacs.token"\nca = "{0}/absent.pem"', "web.hub.ca: "),
    ('token = "1234"', "where the secret is, not the secret itself"),
    ('token = "file:{0}/pacs.token"\nwatch = "admin"', "web.hub.watch"), ("", "web.hub.token"),
])  # fmt: skip
def test_a_hub_that_cannot_be_asked_is_named_before_it_is_needed(tmp_path, told, said):
    plan, _ = plan_of(tmp_path)
    hub = f'[web.hub]\nurl = "https://hub.example"\n{told.format(tmp_path)}\n'
    plan.write_text(plan.read_text().replace("[[caller]]", f"{hub}[[caller]]"))
    with pytest.raises(SettingsError, match=said):
        check(plan)


def test_the_hubs_groups_say_what_a_person_may(tmp_path):
    plan, _ = plan_of(tmp_path)
    hub = f'[web.hub]\nurl = "https://hub.example"\ntoken = "file:{tmp_path}/pacs.token"\n'
    plan.write_text(plan.read_text().replace("[[caller]]", f"{hub}[[caller]]"))
    door = check(plan).web.hub
    assert door.api == "https://hub.example/hub/api"
    assert [sorted(door.may(one)) for one in (["admin"], ["radiologist", "x"], ["student"], [])] == [
        ["again", "watch"], ["watch"], [], []]


def test_a_token_may_come_from_the_environment(tmp_path, monkeypatch):
    plan, _ = plan_of(tmp_path)
    plan.write_text(plan.read_text().replace(f"file:{tmp_path}/asker.token", "env:ASKERS_TOKEN"))
    monkeypatch.setenv("ASKERS_TOKEN", "a" * 40)
    assert check(plan).web.tokens()[b"a" * 40].name == "asker"
    assert "a" * 40 not in repr(check(plan))


def test_the_web_may_ask_for_a_certificate_too(tmp_path):
    need_service("curl", package="curl")
    cert, key = certificate(tmp_path, "client")
    with house(tmp_path, key=f'{tmp_path}/web.key"\nca = "{cert}') as here:
        assert curl(here, "/health")[0] == 0
        assert curl(here, "/health", "--cert", str(cert), "--key", str(key))[0] == 200
        assert curl(here, "/figures", "--cert", str(cert), "--key", str(key))[0] == 401


def test_what_is_missing_for_the_web_is_named(monkeypatch):
    import ailab_kernel.adapter.web as room

    monkeypatch.setattr(room, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(MissingExtra, match=r"\[web\] in adapter\.toml needs uvicorn"):
        _ = room.WebServer


def test_the_terminal_says_where_the_doors_are(tmp_path):
    plan, _ = plan_of(tmp_path)
    code = "import sys; sys.argv = ['ailab', *sys.argv[1:]]; from ailab_kernel.cli.main import main; main()"
    server = subprocess.Popen([sys.executable, "-c", code, "adapter", "serve", "--plan", str(plan), "--workers", "0", "--json"],
                              cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                              env=os.environ | {"AILAB_HOME": str(tmp_path / "lab")})  # fmt: skip
    lines = []
    while not lines or lines[-1].rstrip() not in ("}", "]"):
        lines.append(server.stdout.readline())
    server.terminate()
    assert server.wait(60) == 0
    server.stdout.close()
    told = json.loads("".join(lines))
    assert told["web"].startswith("https://127.0.0.1:")
    assert told["tls"] is False


def test_what_the_document_shows_is_a_plan(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "adapter.md").read_text(encoding="utf8")
    path = tmp_path / "adapter.toml"
    path.write_text("\n".join(re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)))
    plan = read_plan(path)
    assert (plan.tls.ca, plan.web.tls.where, plan.web.bearers[0].may) == ("/etc/ailab/pacs-ca.pem", "web.tls", {"store"})
    assert plan.hours.weekend
