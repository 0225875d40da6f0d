"""Logins, failed logins and logouts at a real hub are lines of the lab's trail: each exactly one, and no password."""

import json
import time

import pytest
import requests

from ailab_kernel.fleet.invitations import invite
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.audit_messages import message
from ailab_kernel.ground.errors import AilabError
from tests.ground.test_audit import valid

from . import providers
from .hubs import free_ports
from .hubs import hub as started
from .test_oidc import arrive, person

pytestmark = pytest.mark.slow
MISTYPED = "a quiet harbour 7"


@pytest.fixture(scope="module")
def house(hub_needs):
    with started(service="on") as running:
        yield running


def trail(house, admin: Visit) -> list[dict]:
    answer = requests.get(f"{house.url}/services/ailab/catalog/audit", timeout=30,
                          headers={"Authorization": f"token {admin._token}"})  # fmt: skip
    assert answer.ok, answer.text
    return answer.json()


def seen(house, admin: Visit, *, expected: int) -> list[dict]:
    for _ in range(100):
        found = [line for line in trail(house, admin) if line["event"].startswith("service.hub-")]
        if len(found) >= expected:
            break
        time.sleep(0.2)
    return found


def test_each_login_failed_login_and_logout_is_one_line(house):
    admin = house.person("chief", "admin")
    password = invite(house.private / "invitations", "anna", role="radiologist").password
    anna = Visit(house.url, "anna")
    anna.log_in(password)
    anna._get("/hub/logout")
    for name, wrong in (("anna", "wrong"), (MISTYPED, "anna"), ("nobody-here", MISTYPED)):
        with pytest.raises(AilabError):
            Visit(house.url, name).log_in(wrong)
    lines = seen(house, admin, expected=6)
    assert [(line["by"], line["event"].removeprefix("service.hub-")) for line in lines] == [
        ("chief", "login"), ("anna", "login"), ("anna", "logout"), ("anna", "login-failed"), ("(unknown)", "login-failed"),
        ("(unknown)", "login-failed")]  # fmt: skip
    messages = [valid(message(line, source="ailab")) for line in lines]
    assert {one.find("ActiveParticipant").get("NetworkAccessPointID") for one in messages} == {"127.0.0.1"}
    told = [one.find("EventIdentification") for one in messages]
    assert [[one.get("csd-code") for one in event] for event in told] == [["110114", kind] for kind in (
        "110122", "110122", "110123", "110122", "110122", "110122")]  # fmt: skip
    assert [event.get("EventOutcomeIndicator") for event in told] == ["0", "0", "0", "4", "4", "4"]
    assert {json.loads(line["detail"])["address"] for line in lines} == {"127.0.0.1"}
    everything = json.dumps(trail(house, admin))
    assert not [word for word in (MISTYPED, "nobody-here", password) if word in everything]
    assert list((house.private / "seen").iterdir()) == []


def test_a_flood_shares_lines_and_a_service_that_is_away_loses_none(hub_needs, tmp_path, monkeypatch):
    """The hub's side alone: what it keeps until somebody takes it."""
    from types import SimpleNamespace

    from ailab_kernel.fleet import witness

    monkeypatch.setattr(witness, "_WITHIN_S", 1.0)
    desk = witness.Witness(tmp_path / "seen", "http://127.0.0.1:9/services/ailab", token="t")
    request = SimpleNamespace(request=SimpleNamespace(remote_ip="::1"))
    for _ in range(200):
        desk.note(witness.FAILED, "", request)
    desk.note("hub-login", "anna", request)
    time.sleep(1.1)
    desk.note(witness.FAILED, "", request)
    kept = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "seen").iterdir())]
    assert len(kept) == 62
    assert [one["event"] for one in kept[-2:]] == ["hub-login", witness.FAILED]
    assert sum(one["untold"] for one in kept) == 140
    assert (tmp_path / "seen").stat().st_mode & 0o777 == 0o700


def test_logins_by_a_provider(hub_needs, tmp_path):
    port = free_ports()
    (tmp_path / "groups.yaml").write_text(json.dumps({"radiologist": ["radiology"], "admin": ["it"]}))
    with (
        providers.oidc(tmp_path, callback=f"http://127.0.0.1:{port}/hub/oauth_callback") as provider,
        started(service="on", port=port, AILAB_HUB_LOGIN="oidc", AILAB_HUB_OIDC_ISSUER=provider.issuer,
                AILAB_HUB_OIDC_CLIENT="ailab", AILAB_HUB_OIDC_SECRET="env:THE_CLIENTS_SECRET",
                THE_CLIENTS_SECRET="quite-secret", AILAB_HUB_OIDC_CA=str(provider.ca),
                AILAB_HUB_GROUPS=str(tmp_path / "groups.yaml")) as running,
    ):
        provider.people({"s-1": person("chief", "it"), "s-2": person("max", "radiology"), "s-3": person("max", "it")})
        chief = arrive((running, provider), "chief", as_whom="s-1", password="chief-secret")
        arrive((running, provider), "max", as_whom="s-2", password="max-secret")._get("/hub/logout")
        assert arrive((running, provider), "max", as_whom="s-3", password="max-secret").page.status_code == 403
        assert [(line["by"], line["event"].removeprefix("service.hub-")) for line in seen(running, chief, expected=4)] == [
            ("chief", "login"), ("max", "login"), ("max", "logout"), ("(unknown)", "login-failed")]  # fmt: skip


def test_what_a_server_holds_is_known_as_that(house):
    admin = house.person("second", "admin")
    admin.choose("pilot")
    admin.wait()
    ask = ("import ailab_kernel as ailab; c = ailab.open_lab().workspace.catalog; "
           "c.reidentify('0' * 16, 'a finding')")  # fmt: skip
    assert "token of a server" in admin.run(ask, kernel=admin.kernel())
