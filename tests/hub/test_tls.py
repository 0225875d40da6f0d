"""TLS: the hospital's certificate in front, and client certificates between hub, proxy and servers behind it."""

import socket
import ssl

import psutil
import pytest
import requests

from ailab_kernel.ground.errors import SettingsError

from . import providers
from .hubs import hub as started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    return providers.certificates(tmp_path_factory.mktemp("front"))


@pytest.fixture(scope="module")
def hub(hub_needs, front):
    """Everything at once: a certificate in front, TLS inside, the trusted process."""
    pytest.importorskip("ailab_kernel.service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(front.ca))
        patch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(front.ca))
        with started(service="on", scheme="https", AILAB_HUB_TLS_KEY=str(front.key), AILAB_HUB_TLS_CERT=str(front.cert),
                     AILAB_HUB_TLS_CA=str(front.ca), AILAB_HUB_INTERNAL_TLS="on") as running:
            yield running


@pytest.fixture(scope="module")
def anna(hub):
    visit = hub.person("anna", "radiologist")
    visit.choose("pilot")
    visit.wait()
    return visit


def test_the_front_serves_the_hospitals_certificate(hub, front):
    port = int(hub.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as link:
        context = ssl.create_default_context(cafile=str(front.ca))
        with context.wrap_socket(link, server_hostname="127.0.0.1") as safe:
            assert safe.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(front.cert.read_text())
            assert safe.version() == "TLSv1.3"
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{hub.url}/hub/health", timeout=10, verify=requests.certs.where())
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(hub.url.replace("https:", "http:") + "/hub/login", timeout=10)


def test_cookies_are_for_this_host_and_for_tls_only(anna):
    kept = {one.name: one for one in anna._session.cookies}
    login = kept["__Host-jupyterhub-hub-login"]
    assert login.secure
    assert login.path == "/"
    assert login.has_nonstandard_attr("HttpOnly")


def test_a_server_starts_a_kernel_runs_and_the_trusted_process_answers(anna):
    kernel = anna.kernel()
    assert anna.run("6 * 7", kernel=kernel) == "42"
    asked = anna.run("import ailab_kernel as ailab; ailab.open_lab().workspace.catalog.roles_enforced", kernel=kernel)
    assert asked == "True"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_behind_the_front_every_port_wants_a_client_certificate(hub, anna):
    front = int(hub.url.rpartition(":")[2])
    server = listening(hub, "anna")
    assert server
    for port in (front + 1, front + 2, *server):                  # the hub's own API, the proxy's, the person's server
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/", timeout=10)
        with pytest.raises((requests.exceptions.SSLError, requests.exceptions.ConnectionError)):
            requests.get(f"https://127.0.0.1:{port}/", timeout=10, verify=False)
    inside = hub.private / "internal-tls"
    own = (str(inside / "proxy-client" / "proxy-client.crt"), str(inside / "proxy-client" / "proxy-client.key"))
    trust = str(inside / "notebooks-ca" / "notebooks-ca.crt")
    answer = requests.get(f"https://127.0.0.1:{server[0]}/user/anna/api", timeout=10, cert=own, verify=trust)
    assert answer.json()["version"]


def test_one_persons_certificate_opens_no_other_persons_server(hub, anna):
    ben = hub.person("ben", "student")
    ben.choose("pilot")
    ben.wait()
    code = (f"import os, ssl, urllib.request; c = ssl.create_default_context(); c.check_hostname = False; "
            f"c.verify_mode = ssl.CERT_NONE; e = os.environ; "
            f"c.load_cert_chain(e['JUPYTERHUB_SSL_CERTFILE'], e['JUPYTERHUB_SSL_KEYFILE']); "
            f"urllib.request.urlopen('https://127.0.0.1:{listening(hub, 'anna')[0]}/user/anna/api', context=c).status")
    said = ben.run(code, kernel=ben.kernel())
    assert "Error" in said, said
    assert "200" not in said.splitlines()[-1]


def listening(hub, name: str) -> list[int]:
    """Ports of a person's server."""
    ports = []
    for one in psutil.process_iter():
        try:
            told = one.environ()                   # another hub on this machine may have somebody of that name
            mine = told.get("JUPYTERHUB_USER") == name and told.get("HOME", "").startswith(str(hub.home))
            if mine and "jupyterhub.singleuser" in one.cmdline():
                ports += [link.laddr.port for link in one.net_connections("tcp") if link.status == psutil.CONN_LISTEN]
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return sorted(set(ports))


def test_the_services_own_certificate_is_not_for_the_one_behind_the_proxy(monkeypatch, tmp_path):
    from hub_config import trusted
    from hub_config.house import open_house

    monkeypatch.setenv("AILAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setenv("AILAB_SERVICE_CERT", "cert.pem")
    with pytest.raises(SettingsError, match="AILAB_HUB_TLS_CERT"):
        trusted.service(open_house())


@pytest.mark.parametrize(("given", "says"), [
    ({"AILAB_HUB_TLS_KEY": "key"}, "belong together"),
    ({"AILAB_HUB_TLS_KEY": "key", "AILAB_HUB_TLS_CERT": "none"}, "there is no such file"),
    ({"AILAB_HUB_TLS_KEY": "key", "AILAB_HUB_TLS_CERT": "cert"}, "an https address is expected"),
    ({"AILAB_HUB_TLS_KEY": "open", "AILAB_HUB_TLS_CERT": "cert", "AILAB_HUB_URL": "https://h"}, "chmod 600"),
])  # fmt: skip
def test_half_a_certificate_is_said(given, says, front, monkeypatch, tmp_path):
    from hub_config.house import open_house
    from hub_config.proxy import settings

    (tmp_path / "open").write_text("x")
    paths = {"key": str(front.key), "cert": str(front.cert), "open": str(tmp_path / "open")}
    monkeypatch.setenv("AILAB_HOME", str(tmp_path / "lab"))
    for name, value in given.items():
        monkeypatch.setenv(name, paths.get(value, value))
    with pytest.raises(SettingsError, match=says):
        settings(open_house())
