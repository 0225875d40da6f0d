"""Logins by a real OIDC provider, npm's oidc-provider: who enters, as what, and who does not."""

import asyncio
import json
import os
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests

from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.errors import SettingsError
from tests.services import http_server

from . import providers
from .hubs import free_ports
from .hubs import hub as started

pytestmark = pytest.mark.slow


def person(name: str, *groups: str, **claims: object) -> dict:
    return {"password": f"{name}-secret", "claims": {"preferred_username": name, "groups": list(groups)} | claims}


@pytest.fixture(scope="module")
def oidc_hub(hub_needs, tmp_path_factory):
    """A hub and the provider that it trusts; the provider must know the hub's address, and the hub the provider's."""
    folder, port = tmp_path_factory.mktemp("oidc"), free_ports()
    (folder / "groups.yaml").write_text(json.dumps({"radiologist": ["radiology"], "admin": ["it"]}))
    with (
        providers.oidc(folder, callback=f"http://127.0.0.1:{port}/hub/oauth_callback") as provider,
        started(port=port, AILAB_HUB_LOGIN="oidc", AILAB_HUB_OIDC_ISSUER=provider.issuer, AILAB_HUB_OIDC_CLIENT="ailab",
                AILAB_HUB_OIDC_SECRET="env:THE_CLIENTS_SECRET", THE_CLIENTS_SECRET="quite-secret",
                AILAB_HUB_OIDC_CA=str(provider.ca), AILAB_HUB_GROUPS=str(folder / "groups.yaml")) as running,
    ):
        yield running, provider


class Browserless(Visit):
    """Somebody who goes to the provider and back without a browser."""

    def log_in(self, password: str, *, as_whom: str = "") -> None:
        page = self._session.get(f"{self._url}/hub/oauth_login", timeout=30, verify=self.ca)
        assert "Hospital login" in page.text, page.text
        back = self._session.post(page.url, data={"id": as_whom or self._name, "password": password}, timeout=30,
                                  verify=self.ca)
        self.page = back
        if "/hub/" in back.url and back.ok:
            self._get("/hub/home")
            self._token = self._session.post(
                f"{self._url}/hub/api/users/{self._name}/tokens", json={"expires_in": 900},
                headers={"X-XSRFToken": self._xsrf()}, timeout=30).json()["token"]


def arrive(oidc_hub, name: str, *, as_whom: str = "", password: str = "") -> Browserless:
    hub, provider = oidc_hub
    visit = Browserless(hub.url, name)
    visit.ca = str(provider.ca)
    visit.log_in(password or f"{as_whom or name}-secret", as_whom=as_whom)
    return visit


def test_the_providers_groups_are_roles_and_follow_it(oidc_hub):
    hub, provider = oidc_hub
    provider.people({"s-1": person("rosa", "radiology", "canteen")})
    rosa = arrive(oidc_hub, "rosa", as_whom="s-1", password="rosa-secret")
    assert rosa.api("GET", "/user").json()["groups"] == ["radiologist"]
    assert rosa.tiers() == ["pilot", "blink"]
    provider.people({"s-1": person("rosa", "canteen")})
    again = arrive(oidc_hub, "rosa", as_whom="s-1", password="rosa-secret")
    assert again.api("GET", "/user").json()["groups"] == []
    assert again.tiers() == rosa.tiers() == []
    assert "none of your groups has a role" in again._get("/hub/spawn").text
    assert "quite-secret" not in hub.log
    assert b"quite-secret" not in b"".join(path.read_bytes() for path in hub.private.glob("*") if path.is_file())


@pytest.mark.parametrize("groups", [[], ["radiology2"], "radiology,it", ["Radiology"], [["it"]], {"it": True, "x": 1}, None, 7])
def test_groups_that_are_not_mapped_give_nothing(oidc_hub, groups):
    oidc_hub[1].people({"s-2": person("gus", groups=groups)})
    gus = arrive(oidc_hub, "gus", as_whom="s-2", password="gus-secret")
    assert gus.api("GET", "/user").json()["groups"] == []
    assert gus.api("POST", "/users/gus/server", body={"tier": "blink"}).status_code == 403


def test_a_wrong_password_is_refused_by_the_provider(oidc_hub):
    oidc_hub[1].people({"s-3": person("lia", "it")})
    lia = arrive(oidc_hub, "lia", as_whom="s-3", password="wrong")
    assert "Wrong name or password" in lia.page.text
    assert "/hub/login" in lia._get("/hub/home").url


def test_a_name_that_was_given_anew_opens_nobody_elses_files(oidc_hub):
    _, provider = oidc_hub
    provider.people({"s-4": person("max", "radiology"), "s-5": person("max", "it")})
    arrive(oidc_hub, "max", as_whom="s-4", password="max-secret")
    second = arrive(oidc_hub, "max", as_whom="s-5", password="max-secret")
    assert second.page.status_code == 403
    assert "belongs to another account of the provider" in second.page.text
    assert "/hub/login" in second._get("/hub/home").url


@pytest.mark.parametrize("name", ["", "Ä", "a b", "../admin", "<script>alert(1)</script>", "anna@hospital.example", "x" * 33, 7])
def test_a_name_that_no_account_can_have_is_refused_and_told(oidc_hub, name):
    oidc_hub[1].people({"s-6": person("", "it", preferred_username=name) | {"password": "p"}})
    odd = arrive(oidc_hub, "odd", as_whom="s-6", password="p")
    assert odd.page.status_code == 403
    assert "preferred_username is no name that an account can have" in odd.page.text
    assert "<script>alert" not in odd.page.text


def test_answers_that_the_provider_did_not_give_are_refused(oidc_hub):
    hub, _ = oidc_hub
    for query in ("", "?code=made-up", "?code=made-up&state=e30=", "?error=access_denied", "?code=a&state=" + "A" * 5000):
        session = requests.Session()
        session.get(f"{hub.url}/hub/login", timeout=20)
        answer = session.get(f"{hub.url}/hub/oauth_callback{query}", timeout=20)
        assert answer.status_code == 400, query
    assert requests.post(f"{hub.url}/hub/login", data={"username": "a", "password": "b"}, timeout=20).status_code in {403, 405}
    assert requests.get(f"{hub.url}/hub/change-password", timeout=20).status_code == 404


def test_a_login_in_a_browser(oidc_hub, page, tmp_path):
    hub, provider = oidc_hub
    provider.people({"s-7": person("bea", "radiology")})
    page.goto(hub.url)
    page.screenshot(path=Path(os.environ.get("AILAB_PICTURES", tmp_path)) / "7-provider.png")
    page.click("text=Sign in with your hospital account")
    page.fill("#id", "s-7")
    page.fill("#password", "wrong")
    page.click("#go")
    assert page.inner_text("#said") == "Wrong name or password."
    page.fill("#id", "s-7")
    page.fill("#password", "bea-secret")
    page.click("#go")
    page.wait_for_url("**/hub/**")
    page.goto(hub.url + "/hub/spawn")
    assert page.locator("input[name=tier]").evaluate_all("all => all.map(one => one.value)") == ["pilot", "blink"]
    assert page.locator("text=Password").count() == 0, "the provider keeps it"


@pytest.mark.parametrize(("changed", "refused"), [
    ({}, False), ({"sub": "s-2"}, True), ({"aud": "another"}, True), ({"iss": "https://else"}, True), ({"exp": 1}, True),
    ({"sub": None}, True), ({"aud": None}, True),
])  # fmt: skip
def test_the_id_token_must_be_about_this_login(hub_needs, changed, refused, monkeypatch):
    import jwt
    from oauthenticator.generic import GenericOAuthenticator
    from tornado.web import HTTPError

    from hub_config.oidc import Provided

    async def claims(*_: object) -> dict[str, str]:
        return {"sub": "s-1", "preferred_username": "anna"}

    monkeypatch.setattr(GenericOAuthenticator, "token_to_user", claims)
    monkeypatch.setattr(Provided, "issuer", "https://hospital", raising=False)
    told = {"sub": "s-1", "aud": "ailab", "iss": "https://hospital", "exp": 4e9} | changed
    token = jwt.encode({name: value for name, value in told.items() if value is not None}, "k" * 32)
    asked = Provided(client_id="ailab").token_to_user({"id_token": token})
    if refused:
        with pytest.raises(HTTPError):
            asyncio.run(asked)
    else:
        assert asyncio.run(asked)["sub"] == "s-1"


def test_an_unknown_provider_or_another_one_is_said(hub_needs, monkeypatch):
    from hub_config.oidc import discover

    class Discovery(BaseHTTPRequestHandler):
        told = b"{}"

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.told)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with http_server(Discovery) as url:
        places = dict.fromkeys(("authorization_endpoint", "token_endpoint", "userinfo_endpoint"), f"{url}/x")
        for told, says in (({}, "does not name it"), ({"issuer": "https://else"}, "does not name it"), ([], "does not name"),
                           ({"issuer": url}, "has authorization_endpoint ''"),
                           ({"issuer": url} | places | {"token_endpoint": "http://else/x"}, "an https address is expected")):
            Discovery.told = json.dumps(told).encode()
            with pytest.raises(SettingsError, match=says):
                discover(url)
        Discovery.told = json.dumps({"issuer": url} | places).encode()
        assert discover(url) == places
    for wrong in ("http://hospital.example", "ldap://x", ""):
        with pytest.raises(SettingsError, match="https"):
            discover(wrong)
    with pytest.raises(SettingsError, match="no answer"):
        discover(f"http://127.0.0.1:{free_ports()}")
