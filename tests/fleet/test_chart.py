"""The rendered hub, proxy and trusted process run under their own names: TLS to the lab's authority, logins in the trail."""

import json
import secrets
import subprocess
from pathlib import Path

import pytest
import yaml

from ailab_kernel.fleet.rendering import render
from hub_config import proxy
from tests.hub.test_oidc import person
from tests.services import need_service

from . import chart
from .test_rendering import SITE, SITES

pytestmark = pytest.mark.slow
TRUST = "/etc/people.crt"                         # who signed the hub's certificate and the provider's
PEOPLE = {"s-1": person("chief", "admin"), "s-2": person("max", "radiologist"), "s-3": person("nina", "nurse")}
ARRIVE = f"""
import json, sys
from tests.hub.test_oidc import Browserless
name, subject, *leave = sys.argv[1:]
visit = Browserless("https://{chart.HOST}", name)
visit.ca = {TRUST!r}
visit.log_in(name + "-secret", as_whom=subject)
print(json.dumps({{"status": visit.page.status_code, "token": visit._token}}))
if leave:
    visit._get("/hub/logout")
"""
TRAIL = f"""
import os, requests
answer = requests.get("https://{chart.HOST}/services/ailab/catalog/audit", timeout=30, verify={TRUST!r},
                      headers={{"Authorization": "token " + os.environ["TOKEN"]}})
assert answer.ok, answer.text
print(answer.text)
"""
KERNEL = """
import ailab_kernel as ailab
opened = ailab.open_lab().workspace
kept = opened.catalog.get(opened.catalog.put(b"an object"))
print(opened.catalog.roles_enforced, kept.decode(), len(opened.archive.search()))
"""
ASKED = """
import ailab_kernel as ailab
from ailab_kernel.ground import remote_catalog
from ailab_kernel.ground.errors import AilabError
remote_catalog._PAUSES_S = ()
try:
    ailab.open_lab().workspace.catalog.query("model")
except AilabError as error:
    print(error)
"""
WITNESS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, "/usr/local/etc/jupyterhub")
from ailab_modules.witness import Witness
folder = Path(sys.argv[1])
seen = Witness(folder, sys.argv[2] + "://ailab-service:8600/services/ailab", token=sys.argv[4], ca=sys.argv[3])
seen.note("hub-login", "eve", SimpleNamespace(request=SimpleNamespace(remote_ip="::1")))
until = time.monotonic() + 20
while time.monotonic() < until and list(folder.glob("*.json")) and not seen._refusal:
    time.sleep(0.1)
print(len(list(folder.glob("*.json"))), seen._refusal or "taken")
"""


def front(folder):
    """The hospital's own certificate for the hub's name, and who signed it."""
    from certipy import Certipy

    store = Certipy(store_dir=str(folder))
    authority = store.create_ca("hospital")["files"]["cert"]
    files = store.create_signed_pair("front", "hospital", alt_names=[f"DNS:{chart.HOST}"])["files"]
    return {name: Path(path).read_bytes() for name, path in
            {"ca": authority, "tls.crt": files["cert"], "tls.key": files["key"]}.items()}


def rendered(authorize: dict) -> tuple[dict, list[dict]]:
    """Values and manifests; the provider's addresses are the only thing that a site fills in."""
    told = yaml.safe_load(render("kubernetes", SITES[2], site=SITE))
    told["hub"]["config"]["GenericOAuthenticator"] |= authorize
    return told, list(yaml.safe_load_all(render("kubernetes-service", SITES[2], site=SITE)))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The secrets, by the commands of docs/hub.md."""
    need_service("openssl", package="openssl")
    folder = tmp_path_factory.mktemp("secrets")
    shown = front(folder / "hospital")
    given = {"tls.crt": shown["tls.crt"], "tls.key": shown["tls.key"], "client-id": b"ailab", "client-secret": b"quite-secret"}
    return chart.made_by_the_docs(folder, given), shown["ca"]


@pytest.fixture(scope="module")
def lab(made, tmp_path_factory):
    need_service(str(proxy.SCRIPT), package="none: make .venv/hub-ready")
    known, hospital = made
    with (
        chart.cluster(dict(known)) as here,
        chart.provider(here, tmp_path_factory.mktemp("provider"), PEOPLE) as login,
    ):
        here.path(TRUST).write_bytes(hospital + login.ca.read_bytes())
        values, parts = rendered({
            "authorize_url": f"{login.issuer}/auth", "token_url": f"{login.issuer}/token", "scope": ["openid", "profile"],
            "userdata_url": f"{login.issuer}/me", "http_request_kwargs": {"ca_certs": TRUST}})
        chart.start_the_lab(here, values, parts)
        single = values["singleuser"]
        here.mount(single["storage"]["extraVolumes"], single["storage"]["extraVolumeMounts"])
        yield here, here.environment(single["extraEnv"]) | {"AILAB_HOME": str(here.path("/srv/anna"))}


def arrive(here, name: str, subject: str, *leave: str) -> dict:
    return json.loads(here.python(ARRIVE, name, subject, *leave, REQUESTS_CA_BUNDLE=TRUST, AILAB_HUB_TLS_CA=TRUST))


@pytest.fixture(scope="module")
def token(lab):
    return arrive(lab[0], "chief", "s-1")["token"]


def test_the_documented_commands_make_the_secrets_that_are_named(made, tmp_path):
    text = render("kubernetes", SITES[2], site=SITE) + render("kubernetes-service", SITES[2], site=SITE)
    known, _ = made
    assert {name: set(keys) for name, keys in known.items()} == {
        "ailab-authority": {"ca.crt"}, "ailab-service-tls": {"tls.crt", "tls.key"}, "ailab-login": {"client-id", "client-secret"},
        "ailab-tls": {"tls.crt", "tls.key", "ca.crt"}}
    assert [name for name in known if name not in text] == []
    assert "BEGIN" not in text
    for name, secret in {"ca.crt": "ailab-authority", "tls.crt": "ailab-service-tls"}.items():
        (tmp_path / name).write_bytes(known[secret][name])
    strict = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "tls.crt"], cwd=tmp_path,
                            capture_output=True, text=True, check=False)
    assert strict.stdout == "tls.crt: OK\n", "Python 3.13 looks so"
    assert not [line for line in text.splitlines() if "apiToken" in line and "key: hub.services.ailab.apiToken" not in line
                and "get_secret_value" not in line and "hub.services.{SERVICE}" not in line]


def test_logins_failed_logins_and_logouts_are_in_the_trail_that_the_proxy_brings_over_tls(lab, token):
    here, _ = lab
    assert arrive(here, "max", "s-2", "leave")["status"] == 200
    assert arrive(here, "nina", "s-3")["status"] == 403
    for _ in range(20):
        lines = [one for one in json.loads(here.python(TRAIL, TOKEN=token)) if one["event"].startswith("service.hub-")]
        if len(lines) >= 4:
            break
    assert [(one["by"], one["event"].removeprefix("service.hub-")) for one in lines] == [
        ("chief", "login"), ("max", "login"), ("max", "logout"), ("(unknown)", "login-failed")]
    assert list(here.path("/srv/jupyterhub/seen").iterdir()) == []
    assert here.path("/srv/jupyterhub/seen").stat().st_mode & 0o777 == 0o700
    assert "Cannot connect" not in here.log("hub"), "the hub waits for no service that it cannot check"


def test_a_persons_pod_reaches_catalog_and_archive_over_tls(lab, token):
    here, told = lab
    assert here.python(KERNEL, JUPYTERHUB_API_TOKEN=token, **told).split() == ["True", "an", "object", "0"]


def test_a_wrong_authority_none_and_plain_http_are_refused(lab, token):
    here, told = lab
    known = {"JUPYTERHUB_API_TOKEN": token, **told}
    assert "SSLError" in here.python(ASKED, **known | {"AILAB_SERVICE_CA": TRUST})
    assert "SSLError" in here.python(ASKED, **known | {"AILAB_SERVICE_CA": ""})
    plain = known | {"AILAB_SERVICE": "http://ailab-service:8600/services/ailab"}
    assert "https:// is expected, since service_ca is set" in here.python(ASKED, **plain)
    assert "ConnectionError" in here.python(ASKED, **plain | {"AILAB_SERVICE_CA": ""})
    elsewhere = known | {"AILAB_SERVICE": "https://proxy-api:8600/services/ailab"}
    assert "SSLError" in here.python(ASKED, **elsewhere), "the certificate is for one name"


def test_the_hub_keeps_what_it_saw_from_a_service_that_it_cannot_trust(lab):
    here, told = lab
    mine, known = told["AILAB_SERVICE_CA"], here.secrets["hub"]["hub.services.witness.apiToken"].decode()

    def brought(scheme: str, ca: str, as_whom: str = known) -> str:
        place = here.path(f"/srv/{secrets.token_hex(4)}")
        return here.python(WITNESS, f"/srv/{place.name}", scheme, ca, as_whom).strip()

    assert brought("https", TRUST) == "1 SSLError"
    assert brought("https", "/none.crt") == "1 OSError"
    assert brought("http", mine) == "1 ConnectionError"
    assert brought("https", mine, "nobody") == "1 HTTP 401"
    assert brought("https", mine) == "0 taken"


def test_the_hub_does_not_start_with_a_trusted_process_without_tls(lab):
    here, _ = lab
    config = here.path(f"{chart.CONFIG}/other")
    values = yaml.safe_load((here.path(chart.CONFIG) / "secret" / "values.yaml").read_text())
    values["custom"]["ailab"]["trusted"]["url"] = "http://ailab-service:8600/services/ailab"
    chart.extra_files(values, config)
    (config / "secret").mkdir()
    (config / "secret" / "values.yaml").write_text(yaml.safe_dump(values))
    for name, data in here.secrets["hub"].items():
        (config / "secret" / name).write_bytes(data)
    (config / "jupyterhub_config.py").write_text((here.path(chart.CONFIG) / "jupyterhub_config.py").read_text())
    here.start("hub-other", "sh", "-c", f"cd /srv && exec jupyterhub --config {chart.CONFIG}/other/jupyterhub_config.py", env={})
    assert here.running[-1].wait(60) != 0
    assert "https:// is expected, for logins and a token go there" in here.log("hub-other")
