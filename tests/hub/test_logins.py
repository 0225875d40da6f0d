"""Local passwords, tokens, and what is said where logins are set up wrongly; providers are in test_oidc and test_ldap."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from ailab_kernel.fleet.invitations import invite
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.errors import AilabError, SettingsError
from tests.cli.running import ailab

from .hubs import hub as started
from .providers import LDAP3

pytestmark = pytest.mark.slow


@LDAP3
@pytest.mark.parametrize(("given", "says"), [
    ({"AILAB_HUB_LOGIN": "pam"}, "one of native, oidc, ldap is expected"),
    ({"AILAB_HUB_LOGIN": "oidc"}, "AILAB_HUB_OIDC_ISSUER is not set"),
    ({"AILAB_HUB_LOGIN": "oidc", "AILAB_HUB_OIDC_ISSUER": "https://x"}, "AILAB_HUB_GROUPS is not set"),
    ({"AILAB_HUB_LOGIN": "ldap"}, "AILAB_HUB_LDAP_URL is not set"),
    ({"AILAB_HUB_LOGIN": "ldap", "AILAB_HUB_LDAP_URL": "http://x"}, "ldaps://HOST or ldap://HOST"),
    ({"AILAB_HUB_LOGIN": "ldap", "AILAB_HUB_LDAP_URL": "ldap://x:y"}, "ldaps://HOST or ldap://HOST"),
    ({"AILAB_HUB_LOGIN": "ldap", "AILAB_HUB_LDAP_URL": "ldap://x", "AILAB_HUB_GROUPS": "none.yaml"}, "there is no such file"),
])  # fmt: skip
def test_a_wrong_setting_is_said(hub_needs, given, says, monkeypatch):
    from hub_config.logins import settings

    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        settings(None)


@pytest.mark.parametrize("words", [("invite", "nora", "--role", "student"), ("check",)])
def test_with_a_provider_no_account_begins_here(words, monkeypatch, capsys):
    monkeypatch.setenv("AILAB_HUB_LOGIN", "oidc")
    assert ailab("hub", *words) == 2
    assert "people log in at the provider" in capsys.readouterr().err


def test_a_hub_with_a_wrong_login_does_not_start_and_says_why(hub_needs):
    with (
        pytest.raises(RuntimeError, match="AILAB_HUB_LOGIN = 'pam': one of native, oidc, ldap is expected"),
        started(AILAB_HUB_LOGIN="pam"),
    ):
        pass


@pytest.mark.parametrize(("text", "says"), [
    ("[", "no YAML"), ("- radiology", "a mapping of roles"), ("", "a mapping of roles"), ("boss: [x]", "role 'boss'"),
    ("admin: x", "a list of"), ("admin: [1]", "a list of"), ("admin: ['']", "a list of"),
])  # fmt: skip
def test_a_wrong_table_of_groups_is_said(hub_needs, text, says):
    from hub_config.logins import read_groups

    with pytest.raises(SettingsError, match=says):
        read_groups(text)


def test_roles_come_in_the_order_of_their_power(hub_needs):
    from hub_config.logins import read_groups

    table = read_groups("student: [all, b]\nadmin: [b]\nradiologist: []")
    assert table.roles(["b", "unknown"]) == ["admin", "student"]
    assert table.known == ["all", "b"]


def test_a_secret_is_referred_to_and_never_told(monkeypatch, tmp_path):
    from hub_config.references import secret

    kept = tmp_path / "kept"
    kept.write_text("very-secret\n")
    for given, says in (("very-secret", "where the secret is"), ("env:", "where the secret is"), ("env:NOT_THERE", "no secret"),
                        (f"file:{kept}", "chmod 600"), (f"file:{tmp_path / 'none'}", "cannot be read"), ("", "not set")):
        monkeypatch.setenv("AILAB_HUB_OIDC_SECRET", given)
        with pytest.raises(SettingsError, match=says) as caught:
            secret("AILAB_HUB_OIDC_SECRET")
        assert "very-secret" not in str(caught.value)
    kept.chmod(0o600)
    monkeypatch.setenv("AILAB_HUB_OIDC_SECRET", f"file:{kept}")
    assert secret("AILAB_HUB_OIDC_SECRET") == "very-secret"
    monkeypatch.setenv("AILAB_HUB_OIDC_SECRET", "env:THE_SECRET")
    monkeypatch.setenv("THE_SECRET", "very-secret")
    assert secret("AILAB_HUB_OIDC_SECRET") == "very-secret"
    assert "THE_SECRET" not in os.environ, "nothing that the hub starts inherits it"


def change(visit: Visit, old: str, new: str, *, again: str = "") -> str:
    """What the page says to a changed password."""
    visit._get("/hub/change-password")
    told = {"_xsrf": visit._xsrf(), "old_password": old, "new_password": new, "new_password_confirmation": again or new}
    answer = visit._session.post(f"{visit._url}/hub/change-password", data=told, timeout=30)
    assert answer.status_code == 200
    return BeautifulSoup(answer.text, "html.parser").select_one("#said").text


def test_a_password_is_changed_and_every_other_session_ends(hub):
    first = invite(hub.private / "invitations", "paula", role="student").password
    paula, elsewhere = (Visit(hub.url, "paula") for _ in range(2))
    paula.log_in(first)
    elsewhere.log_in(first)
    new = "a quiet harbour 7"
    assert "old password is not right" in change(paula, "wrong", new)
    assert "differ" in change(paula, first, new, again=new + "8")
    for bad in ("short", "1qaz2wsx3edc", "x" * 73, "\u00e4" * 37):
        assert "cannot be taken" in change(paula, first, bad), bad
    assert "/hub/login" not in elsewhere._get("/hub/home").url
    assert change(paula, first, new) == "Your password was changed."
    assert "/hub/login" not in paula._get("/hub/home").url, "this session stays"
    assert "/hub/login" in elsewhere._get("/hub/home").url, "that one does not"
    with pytest.raises(AilabError):
        Visit(hub.url, "paula").log_in(first)
    Visit(hub.url, "paula").log_in(new)
    without_xsrf = paula._session.post(f"{hub.url}/hub/change-password", data={"old_password": new}, timeout=20)
    assert without_xsrf.status_code == 403


def test_guessing_the_old_password_or_at_the_login_is_stopped(hub):
    first = invite(hub.private / "invitations", "quin", role="student").password
    quin = Visit(hub.url, "quin")
    quin.log_in(first)
    for _ in range(5):
        assert "not right" in change(quin, "guess", "a quiet harbour 7")
    assert "Too many wrong passwords" in change(quin, first, "a quiet harbour 7")
    with pytest.raises(AilabError):
        Visit(hub.url, "quin").log_in(first)
    again = invite(hub.private / "invitations", "quin", role="student").password
    Visit(hub.url, "quin").log_in(again)                       # an invitation opens it again, and ends what was open
    assert "/hub/login" in quin._get("/hub/home").url


def test_an_admin_sets_nobodys_password_and_makes_nobody_a_superuser(hub):
    admin = hub.person("chief", "admin")
    assert admin._get("/hub/change-password/paula").status_code == 404
    assert admin.api("PATCH", "/users/chief", body={"admin": True}).status_code == 403
    assert admin.api("POST", "/users", body={"usernames": ["made-up"], "admin": True}).status_code == 403
    assert admin.api("GET", "/users/made-up").status_code == 404


def test_tokens_end(hub):
    tom = hub.person("tom", "student")
    for asked, seconds in (({}, 30 * 86400), ({"expires_in": None}, 30 * 86400), ({"expires_in": 60}, 60)):
        made = tom.api("POST", "/users/tom/tokens", body=asked).json()
        ends = datetime.fromisoformat(made["expires_at"].replace("Z", "+00:00")) - datetime.now(UTC)
        assert abs(ends.total_seconds() - seconds) < 30, made["expires_at"]
    assert tom.api("POST", "/users/tom/tokens", body={"expires_in": 31 * 86400}).status_code == 400


def test_the_password_page_looks_right(hub, page, tmp_path):
    password = invite(hub.private / "invitations", "rita", role="student").password
    page.goto(f"{hub.url}/hub/login?next=%2Fhub%2Fchange-password")
    page.fill("#username_input", "rita")
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_selector("#password-form")
    for name, text in (("old_password", password), ("new_password", "short"), ("new_password_confirmation", "short")):
        page.fill(f"#{name}", text)
    page.click("#password-form button[type=submit]")
    assert "cannot be taken" in page.inner_text("#said")
    page.screenshot(path=Path(os.environ.get("AILAB_PICTURES", tmp_path)) / "6-password.png")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
