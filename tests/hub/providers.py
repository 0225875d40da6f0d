"""Real providers of logins on 127.0.0.1 over TLS: an OIDC provider from npm, and Debian's slapd.

``python -m tests.hub.providers`` installs the OIDC provider, exactly as its lock names it, beside the hub's proxy.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub_config import proxy
from tests.services import need_service

from .hubs import free_ports

HERE = Path(__file__).parent / "provider"
PLACE = Path(sys.prefix) / "share" / "ailab-test-provider"
BASE = "dc=hospital,dc=example"
SEARCHER = f"cn=searcher,{BASE}"
SCHEMAS = Path("/etc/ldap/schema")
LDAP3 = pytest.mark.filterwarnings(       # ldap3 2.9.1 uses what its own libraries and Python have deprecated since
    r"ignore:(tagMap|typeMap|ssl.match_hostname\(\)) is deprecated:DeprecationWarning")


@dataclass(frozen=True)
class Certificates:
    """A server's key and certificate for 127.0.0.1, and the authority's own certificate."""

    key: Path
    cert: Path
    ca: Path


def certificates(folder: Path) -> Certificates:
    from certipy import Certipy

    store = Certipy(store_dir=str(folder))
    authority = store.create_ca("authority")
    files = store.create_signed_pair("server", "authority", alt_names=["IP:127.0.0.1", "DNS:localhost"])["files"]
    Path(files["key"]).chmod(0o600)
    return Certificates(Path(files["key"]), Path(files["cert"]), Path(authority["files"]["cert"]))


@dataclass(frozen=True)
class Provider:
    """A running OIDC provider; `people` changes whom it knows."""

    issuer: str
    file: Path
    ca: Path

    def people(self, people: dict[str, dict]) -> None:
        told = json.loads(self.file.read_text()) | {"people": people}
        self.file.write_text(json.dumps(told))


@contextmanager
def oidc(folder: Path, *, callback: str, within: Sequence[str] = ()) -> Iterator[Provider]:
    """A provider with the client ``ailab`` (secret ``quite-secret``) that may send people back to ``callback``.

    ``within``: what is put before the command, such as the way into another network.
    """
    need_service(str(PLACE / "node_modules" / "oidc-provider"), package="none: make .venv/provider-ready")
    made, port = certificates(folder / "tls"), free_ports()
    file = folder / "provider.json"
    file.write_text(json.dumps({"port": port, "key": str(made.key), "cert": str(made.cert), "client": "ailab",
                                "secret": "quite-secret", "callback": callback, "people": {}}))
    with (folder / "provider.log").open("wb") as log:
        running = subprocess.Popen([*within, proxy.node(), str(HERE / "provider.mjs"), str(file), str(PLACE)],
                                   stdout=subprocess.PIPE, stderr=log)
        try:
            assert running.stdout.readline() == b"ready\n", (folder / "provider.log").read_text()
            yield Provider(f"https://127.0.0.1:{port}", file, made.ca)
        finally:
            running.terminate()
            running.communicate(timeout=30)


@dataclass(frozen=True)
class Slapd:
    """A running directory: LDAP with StartTLS and LDAPS. Passwords are refused without TLS."""

    folder: Path
    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://127.0.0.1:{self.port + 1}"

    def change(self, ldif: str) -> None:
        """Change entries, as the directory's administrator would."""
        subprocess.run(["ldapmodify", "-ZZ", "-x", "-H", self.url, "-D", f"cn=root,{BASE}", "-w", "root-secret"],
                       input=ldif, text=True, check=True, capture_output=True, env={"LDAPTLS_CACERT": str(self.ca)})

    @property
    def log(self) -> str:
        return (self.folder / "slapd.log").read_text(errors="replace")


CONFIG = """
{schemas}
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {ca}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
allow bind_anon_dn
security simple_bind=128
loglevel stats
database mdb
suffix "{base}"
rootdn "cn=root,{base}"
rootpw root-secret
directory {folder}/db
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous none
"""  # allow bind_anon_dn: this directory answers "success" to a name with an empty password, as some real ones do


@contextmanager
def slapd(folder: Path, entries: str) -> Iterator[Slapd]:
    """A directory with these entries under ``BASE``; ``SEARCHER`` may look people up (password ``search-secret``)."""
    need_service("slapd", "ldapmodify", str(SCHEMAS / "core.schema"), package="slapd ldap-utils")
    made, port = certificates(folder / "tls"), free_ports()
    (folder / "db").mkdir()
    schemas = "\n".join(f"include {SCHEMAS}/{name}.schema" for name in ("core", "cosine", "inetorgperson"))
    config, ldif = folder / "slapd.conf", folder / "entries.ldif"
    config.write_text(CONFIG.format(schemas=schemas, folder=folder, base=BASE, ca=made.ca, cert=made.cert, key=made.key))
    ldif.write_text(entries)
    subprocess.run(["slapadd", "-f", config, "-l", ldif], check=True, capture_output=True)
    with (folder / "slapd.log").open("wb") as log:
        running = subprocess.Popen(
            ["slapd", "-f", config, "-h", f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{port + 1}", "-d", "stats"],
            stdout=log, stderr=log)
        try:
            until = time.monotonic() + 20
            while "slapd starting" not in (folder / "slapd.log").read_text(errors="replace"):
                assert running.poll() is None, (folder / "slapd.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
            yield Slapd(folder, port, made.ca)
        finally:
            running.terminate()
            running.wait(30)


if __name__ == "__main__":
    sys.exit(proxy.install(HERE, PLACE))
