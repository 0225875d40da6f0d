"""What the hub knows about this deployment: tiers, devices, folders, ports, isolation. Read once, from the environment.

==========================  ==================================================  ========================
variable                    is                                                  default
==========================  ==================================================  ========================
``AILAB_HOME``              the lab's folder; the hub's own is ``hub`` in it    ``lab``
``AILAB_HUB_URL``           where people reach the hub                          ``http://127.0.0.1:8000``
``AILAB_DEPLOYMENT``        a name in ``deployments.yaml``                      ``local``
``AILAB_HUB_TIERS``         another ``tiers.yaml``                              the one beside this file
``AILAB_HUB_GPUS``          simulated devices, such as ``a100*2``               what ``nvidia-smi`` lists
``AILAB_HUB_HOST``          the hub's address for servers on other machines     ``127.0.0.1``
``AILAB_HUB_BEAT_S``        how often the hub looks after idle servers, s       60
``AILAB_HUB_SERVICE``       ``off`` leaves out the trusted process (a pilot)    ``on``
``AILAB_HUB_ADAPTER``       where an adapter's web's door is (`docs/adapter`)   none: no page of it here
``AILAB_HUB_ISOLATE``       a level of `hub_config.isolation`, or no start      the strongest there is
``AILAB_HUB_TLS_CERT``      the certificate that people's browsers see (PEM)    none: TLS ends elsewhere
``AILAB_HUB_TLS_KEY``       its key, mode 600                                   none
``AILAB_HUB_TLS_CA``        who signed it, for programs here that ask the hub   public authorities
``AILAB_HUB_INTERNAL_TLS``  ``on``: TLS with client certificates behind it too  ``off``
``AILAB_HUB_LOGIN``         ``native``, ``oidc`` or ``ldap`` (below)            ``native``
==========================  ==================================================  ========================

Logins by a provider (`hub_config.logins`). A secret is told by reference: ``env:NAME`` or ``file:/PATH`` (mode 600).

=========================  ==========================================================================================
``AILAB_HUB_GROUPS``       YAML file: each role to a list of the provider's groups (LDAP: distinguished names)
``AILAB_HUB_OIDC_ISSUER``  the provider's issuer, exactly as it writes it
``AILAB_HUB_OIDC_CLIENT``  the client's id there; it may send people back to ``AILAB_HUB_URL/hub/oauth_callback``
``AILAB_HUB_OIDC_SECRET``  the client's secret, by reference
``AILAB_HUB_OIDC_NAME``    claim with the account's name here (``preferred_username``)
``AILAB_HUB_OIDC_GROUPS``  claim with the groups (``groups``)
``AILAB_HUB_OIDC_SCOPE``   scopes to ask for (``openid profile``)
``AILAB_HUB_OIDC_TITLE``   words on the button: Sign in with ... (``your hospital account``)
``AILAB_HUB_OIDC_CA``      certificates of the authority that signed the provider's, where it is the hospital's own
``AILAB_HUB_LDAP_URL``     ``ldaps://HOST`` or ``ldap://HOST`` (StartTLS); the certificate is always checked
``AILAB_HUB_LDAP_CA``      certificates of the authority that signed the directory's, where it is the hospital's own
``AILAB_HUB_LDAP_PEOPLE``  where people are looked up, e.g. ``ou=people,dc=hospital,dc=example``
``AILAB_HUB_LDAP_NAME``    attribute with the account's name (``uid``; ``sAMAccountName`` in Active Directory)
``AILAB_HUB_LDAP_BIND``    account that may look people up; nobody (anonymous) where it is not set
``AILAB_HUB_LDAP_SECRET``  its password, by reference
=========================  ==========================================================================================
"""

import json
import os
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ailab_kernel.fleet.leases import Leases, LentElsewhere, devices_here, devices_of
from ailab_kernel.fleet.profiles import Profile, read_profiles
from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.store import atomic_write
from hub_config.isolation import FIRST_UID, SAYS, Isolation, find

HERE = Path(__file__).parent


@dataclass(frozen=True)
class House:
    """One deployment; see `open_house`."""

    folder: Path
    url: str
    deployment: dict[str, Any]
    profiles: tuple[Profile, ...]
    leases: Leases
    isolated: Isolation
    beat_s: float

    @property
    def private(self) -> Path:
        """Database, cookie secret, tokens: the hub's own user only."""
        return self.folder / "private"

    def port(self, offset: int) -> int:
        """A port beside the hub's: 1 its own API, 2 the proxy's, 3 the trusted service."""
        return (urlsplit(self.url).port or 8000) + offset

    def room(self, name: str) -> Path:
        """Folder of a person's files."""
        return self.folder / "rooms" / name

    def tmp(self, name: str) -> Path:
        """Folder that is a person's ``/tmp`` behind walls."""
        return self.folder / "tmp" / name

    def told(self, name: str) -> Path:
        """Folder that a person may read and the hub writes: notices, certificates, what the room saw."""
        return self.folder / "told" / name

    def seen(self, name: str) -> Path:
        """Folder of the heartbeats that a person's room writes (`ailab_kernel.fleet.room`)."""
        return self.told(name) / "seen"

    def notices(self, name: str) -> Path:
        """File of a person's notices."""
        return self.told(name) / "notices.json"

    def activity(self, name: str) -> Path:
        """Folder of the heartbeats of a person's programs."""
        return self.room(name) / ".ailab" / "activity"

    @property
    def isolation(self) -> str:
        """How users are kept from each other (`isolation.LEVELS`); a cluster's jobs have no walls of ours."""
        level = self.isolated.level
        return level if self.deployment.get("walls", True) else "uid" if "uid" in level else "none"

    @property
    def walled(self) -> bool:
        """Whether servers run behind walls."""
        return "bwrap" in self.isolation

    @property
    def has_service(self) -> bool:
        """Whether the trusted process can be started."""
        return os.environ.get("AILAB_HUB_SERVICE") != "off" and find_spec("ailab_kernel.service") is not None

    @property
    def adapter_url(self) -> str:
        """Where an adapter's page is; empty: there is none."""
        return os.environ.get("AILAB_HUB_ADAPTER", "").rstrip("/")

    def log(self, name: str) -> Path:
        """File of what a person's server writes, since it was started last."""
        folder = self.private / "servers"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"

    @property
    def host(self) -> str:
        """Address of this machine as servers reach it: its own loopback, or what other machines call it."""
        return os.environ.get("AILAB_HUB_HOST", "127.0.0.1")

    @property
    def inside(self) -> str:
        """How hub, proxy and people's servers speak to each other: ``https`` (with client certificates) or ``http``."""
        return "https" if os.environ.get("AILAB_HUB_INTERNAL_TLS") == "on" else "http"

    @property
    def service_url(self) -> str:
        """Where people's programs reach the trusted process: by the proxy; on this machine at its own port where the
        proxy's certificate is for the name that people use; on other machines by that name.
        """
        secured = os.environ.get("AILAB_HUB_TLS_CERT")
        if secured and self.host != "127.0.0.1":
            return f"{self.url}/services/ailab"
        return f"http://{self.host}:{self.port(3) if secured else self.port(0)}/services/ailab"

    @property
    def trusted_url(self) -> str:
        """Where the trusted process itself listens, on this machine."""
        return f"http://127.0.0.1:{self.port(3)}/services/ailab"

    @property
    def provided(self) -> bool:
        """Whether a provider says who somebody is and in which groups (`hub_config.logins`)."""
        return os.environ.get("AILAB_HUB_LOGIN", "native") != "native"

    def token(self, name: str) -> str:
        """Return a service's token, kept in the private folder."""
        path = self.private / f"{name}.token"
        if not path.is_file():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path.read_text()

    def uid(self, name: str) -> int:
        """Return a person's own user id, which no other name ever gets; 0 where users are not isolated."""
        if "uid" not in self.isolation:
            return 0
        path = self.private / "uids.json"
        known = json.loads(path.read_text()) if path.is_file() else {}
        if name not in known:
            known[name] = max(known.values(), default=FIRST_UID) + 1
            atomic_write(path, json.dumps(known, indent=1).encode())
        return known[name]

    @property
    def service_uid(self) -> int:
        """User id of the trusted process, which no person's server ever gets; 0 where users are not isolated so."""
        return FIRST_UID - 1 if "uid" in self.isolation and self.isolated.passable else 0

    def plain_words(self) -> str:
        """What a person must know about isolation, in one line."""
        return SAYS[self.isolation if self.deployment["rooms"] else "uid"]


def open_house() -> House:
    """Read the environment, make the folders, and find out how far users can be isolated.

    Raises
    ------
    SettingsError
        An unknown deployment, or tiers that cannot be read.
    """
    named = os.environ.get("AILAB_DEPLOYMENT", "local")
    deployments = yaml.safe_load((HERE / "deployments.yaml").read_text())
    if named not in deployments:
        msg = f"AILAB_DEPLOYMENT = {named!r}: one of {', '.join(deployments)} is expected"
        raise SettingsError(msg)
    folder = Path(os.environ.get("AILAB_HOME", "lab")).resolve() / "hub"
    for name, mode in {"": 0o711, "private": 0o700, "rooms": 0o711, "told": 0o711, "tmp": 0o711}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(mode)
    _close(folder.parent)
    tiers = Path(os.environ.get("AILAB_HUB_TIERS", HERE / "tiers.yaml")).read_text()
    atomic_write(folder / "private" / "tiers.yaml", tiers.encode())  # for `ailab hub check`: what this hub offers
    gpus = os.environ.get("AILAB_HUB_GPUS")
    return House(
        folder=folder,
        url=os.environ.get("AILAB_HUB_URL", "http://127.0.0.1:8000").rstrip("/"),
        deployment={"settings": {}, **deployments[named]},
        profiles=read_profiles(tiers),
        leases=LentElsewhere() if deployments[named].get("lends") == "scheduler"
        else Leases(devices_here() if gpus is None else devices_of(gpus)),
        isolated=find(folder, demanded=os.environ.get("AILAB_HUB_ISOLATE", "")),
        beat_s=float(os.environ.get("AILAB_HUB_BEAT_S", "60")),
    )


def _close(lab: Path) -> None:
    """Keep what a pilot lab left here (catalog, keys, objects) from everybody but the hub's user."""
    for path in lab.iterdir():
        if path.name != "hub" and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
