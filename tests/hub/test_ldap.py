"""Logins by a real directory, Debian's slapd: who enters, as what, and who does not."""

import asyncio
import json
import re
import subprocess

import pytest
import requests

from ailab_kernel.fleet.visit import Visit

from . import providers
from .hubs import free_ports
from .hubs import hub as started

pytestmark = [pytest.mark.slow, providers.LDAP3]
HOSTILE = ["*", "*)(uid=*", "admin)(|(uid=*", "anna)(&", "anna\\2a", "anna,ou=people", "ann*", "\x00", "",
           "cn=root,dc=hospital,dc=example", "a" * 5000, "Anna Ü", "../anna", "{0.__class__}"]  # fmt: skip
PEOPLE = f"ou=people,{providers.BASE}"
GROUPS = f"ou=groups,{providers.BASE}"
TABLE = {"radiologist": [f"cn=radiology,{GROUPS}"], "data-scientist": [f"cn=data (ki),{GROUPS}"],
         "admin": [f"cn=it,{GROUPS}"]}  # fmt: skip


def entry(name: str, **more: str) -> str:
    told = {"objectClass": "inetOrgPerson", "uid": name, "cn": name, "sn": name, "userPassword": f"{name}-secret"} | more
    dn = f"uid={name},{PEOPLE}"
    return f"dn: {dn}\n" + "".join(f"{key}: {value}\n" for key, value in told.items()) + "\n"


def group(name: str, *members: str) -> str:
    lines = "".join(f"member: {'' if '=' in one else 'uid='}{one},{PEOPLE}\n" for one in members)
    return f"dn: cn={name},{GROUPS}\nobjectClass: groupOfNames\ncn: {name}\n{lines}\n"


ENTRIES = "".join([
    f"dn: {providers.BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Hospital\ndc: hospital\n\n",
    f"dn: {providers.SEARCHER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: searcher\n"
    "userPassword: search-secret\n\n",
    *(f"dn: {one}\nobjectClass: organizationalUnit\nou: {one[3:].split(',')[0]}\n\n" for one in (PEOPLE, GROUPS)),
    *map(entry, ("anna", "ben", "carl", "admin")),
    f"dn: cn=Dora {{X}} (guest),{PEOPLE}\nobjectClass: inetOrgPerson\nuid: dora\ncn: Dora {{X}} (guest)\nsn: D\n"
    "userPassword: dora-secret\n\n",
    group("radiology", "anna", "cn=Dora {X} (guest)"), group("data (ki)", "ben"), group("it", "admin"),
    group("kitchen", "carl"),
])  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with providers.slapd(tmp_path_factory.mktemp("slapd"), ENTRIES) as running:
        yield running


@pytest.fixture(scope="module")
def ldap_hub(directory, hub_needs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ldap")
    (folder / "groups.yaml").write_text(json.dumps(TABLE))
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("search-secret\n")
    with started(AILAB_HUB_LOGIN="ldap", AILAB_HUB_LDAP_URL=directory.url, AILAB_HUB_LDAP_CA=str(directory.ca),
                 AILAB_HUB_LDAP_PEOPLE=PEOPLE, AILAB_HUB_LDAP_BIND=providers.SEARCHER,
                 AILAB_HUB_LDAP_SECRET=f"file:{secret}", AILAB_HUB_GROUPS=str(folder / "groups.yaml")) as running:
        yield running


def enter(hub, name: str, password: str = "") -> Visit:
    visit = Visit(hub.url, name)
    visit.log_in(password or f"{name}-secret")
    return visit


def refused(hub, name: str, password: str) -> int:
    """The status of a login by the form, and no cookie of somebody who is in."""
    session = requests.Session()
    session.get(f"{hub.url}/hub/login", timeout=20)
    xsrf = next(one.value for one in session.cookies if one.name == "_xsrf")
    answer = session.post(f"{hub.url}/hub/login", allow_redirects=False, timeout=30,
                          data={"username": name, "password": password, "_xsrf": xsrf})
    assert "jupyterhub-hub-login" not in session.cookies
    assert "/hub/login" in session.get(f"{hub.url}/hub/home", timeout=20).url
    return answer.status_code


@pytest.mark.parametrize(("name", "role", "tiers"), [
    ("anna", "radiologist", ["pilot", "blink"]), ("ben", "data-scientist", ["pilot", "blink", "gpu"]),
    ("admin", "admin", ["pilot"]), ("dora", "radiologist", ["pilot", "blink"]),
])  # fmt: skip
def test_the_directorys_groups_are_roles(ldap_hub, name, role, tiers):
    visit = enter(ldap_hub, name)
    assert visit.api("GET", "/user").json()["groups"] == [role]
    assert visit.tiers() == tiers


def test_a_name_is_the_same_in_capitals(ldap_hub):
    visit = Visit(ldap_hub.url, "anna")
    visit._get("/hub/login")
    visit._session.post(f"{ldap_hub.url}/hub/login", timeout=30,
                        data={"username": "ANNA ", "password": "anna-secret", "_xsrf": visit._xsrf()})
    assert "anna" in visit._get("/hub/home").text


def test_who_is_in_no_mapped_group_has_no_tier_and_is_told(ldap_hub):
    carl = enter(ldap_hub, "carl")
    assert carl.api("GET", "/user").json()["groups"] == []
    assert carl.tiers() == []
    assert "none of your groups has a role" in carl._get("/hub/spawn").text
    assert carl.choose("pilot").status_code == 403
    assert carl.api("POST", "/users/carl/server", body={"tier": "pilot"}).status_code == 403
    assert carl.api("POST", "/groups/admin/users", body={"users": ["carl"]}).status_code in {403, 404}


def test_roles_follow_the_directory_at_each_login(ldap_hub, directory):
    member = f"uid=anna,{PEOPLE}"
    directory.change(f"dn: cn=radiology,{GROUPS}\nchangetype: modify\ndelete: member\nmember: {member}\n\n"
                     f"dn: cn=data (ki),{GROUPS}\nchangetype: modify\nadd: member\nmember: {member}\n")  # fmt: skip
    try:
        assert enter(ldap_hub, "anna").api("GET", "/user").json()["groups"] == ["data-scientist"]
    finally:
        directory.change(f"dn: cn=radiology,{GROUPS}\nchangetype: modify\nadd: member\nmember: {member}\n\n"
                         f"dn: cn=data (ki),{GROUPS}\nchangetype: modify\ndelete: member\nmember: {member}\n")  # fmt: skip
    assert enter(ldap_hub, "anna").api("GET", "/user").json()["groups"] == ["radiologist"]


def test_an_admin_here_cannot_give_roles_that_the_directory_did_not(ldap_hub):
    admin = enter(ldap_hub, "admin")
    enter(ldap_hub, "carl")
    assert "admin:users" in admin.api("GET", "/user").json()["scopes"]
    answer = admin.api("POST", "/groups/admin/users", body={"users": ["carl"]})
    assert answer.status_code in {403, 404}, answer.text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_never_reach_the_directory(ldap_hub, directory, name):
    before = directory.log
    for password in ("anna-secret", "", "*"):
        assert refused(ldap_hub, name, password) in {200, 400, 401, 403}
    assert "SRCH" not in directory.log.removeprefix(before)


@pytest.mark.parametrize("password", ["", " ", "\x00", "\x00\x00", "anna-secret\x00", "\t", "wrong", "anna-secre", "x" * 100_000])
def test_wrong_and_empty_passwords_are_refused(ldap_hub, password):
    assert refused(ldap_hub, "anna", password) == 403


def test_this_directory_lets_an_empty_password_bind(directory):
    """The reason for the test above: RFC 4513, 5.1.2, an unauthenticated bind is a success here."""
    done = subprocess.run(["ldapwhoami", "-ZZ", "-x", "-H", directory.url, "-D", f"uid=anna,{PEOPLE}", "-w", ""],
                          capture_output=True, text=True, env={"LDAPTLS_CACERT": str(directory.ca)})
    assert (done.returncode, done.stdout.strip()) == (0, "anonymous")


def test_neither_secret_nor_password_is_in_a_log(ldap_hub):
    enter(ldap_hub, "ben")
    assert not re.search("search-secret|ben-secret", ldap_hub.log)


def ldap_settings(monkeypatch, tmp_path, **more):
    from hub_config import ldap

    (tmp_path / "groups.yaml").write_text(json.dumps(TABLE))
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("search-secret")
    given = {"AILAB_HUB_LOGIN": "ldap", "AILAB_HUB_LDAP_PEOPLE": PEOPLE, "AILAB_HUB_LDAP_BIND": providers.SEARCHER,
             "AILAB_HUB_LDAP_SECRET": f"file:{tmp_path / 'secret'}",
             "AILAB_HUB_GROUPS": str(tmp_path / "groups.yaml")} | more  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return ldap.settings(None)


def ask(config: dict, name: str = "anna", password: str = "anna-secret"):
    from traitlets.config import Config

    from hub_config.ldap import Directory

    return asyncio.run(Directory(config=Config(config)).authenticate(None, {"username": name, "password": password}))


def test_over_ldaps_as_over_starttls(directory, monkeypatch, tmp_path):
    config = ldap_settings(monkeypatch, tmp_path, AILAB_HUB_LDAP_URL=directory.tls_url,
                           AILAB_HUB_LDAP_CA=str(directory.ca))
    told = ask(config)
    assert told["groups"] == ["radiologist"]
    assert told["auth_state"] is None
    assert ask(config, password="wrong") is None
    for name in ("nobody", "anna\n", "anna\x00", "\x00", *HOSTILE):
        assert ask(config, name) is None
    assert ask(config, password="anna-secret\x00") is None


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_directory_with_another_certificate_hears_no_password(directory, scheme, monkeypatch, tmp_path):
    from tornado.web import HTTPError

    other = providers.certificates(tmp_path / "other").ca
    url = {"ldap": directory.url, "ldaps": directory.tls_url}[scheme]
    config = ldap_settings(monkeypatch, tmp_path, AILAB_HUB_LDAP_URL=url, AILAB_HUB_LDAP_CA=str(other))
    before = directory.log
    with pytest.raises(HTTPError) as caught:
        ask(config)
    assert caught.value.status_code == 503
    assert "BIND" not in directory.log.removeprefix(before)


def test_a_search_account_that_is_refused_is_the_admins_matter(directory, monkeypatch, tmp_path):
    from tornado.web import HTTPError

    config = ldap_settings(monkeypatch, tmp_path, AILAB_HUB_LDAP_URL=directory.url, AILAB_HUB_LDAP_CA=str(directory.ca),
                           AILAB_HUB_LDAP_SECRET="env:WRONG", WRONG="not-it")
    with pytest.raises(HTTPError) as caught:
        ask(config)
    assert caught.value.status_code == 503


def test_a_directory_that_is_away_is_said(monkeypatch, tmp_path):
    from tornado.web import HTTPError

    config = ldap_settings(monkeypatch, tmp_path, AILAB_HUB_LDAP_URL=f"ldap://127.0.0.1:{free_ports()}")
    with pytest.raises(HTTPError) as caught:
        ask(config)
    assert "directory does not answer" in caught.value.jupyterhub_message
