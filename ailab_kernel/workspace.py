"""From settings to what rooms work with: the archive, the catalog, and where things lie.

The one place that knows whether the trusted side runs in this process or behind the hub.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.references import without_password
from ailab_kernel.ground.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive
    from ailab_kernel.ground.catalog import Catalog

# A user's token for the service, by the name of its variable: a setting would be copied into records and reports.
_TOKENS = ("AILAB_SERVICE_TOKEN", "JUPYTERHUB_API_TOKEN")


@dataclass(frozen=True)
class Workspace:
    """An opened lab without its verbs: what rooms are handed.

    Attributes
    ----------
    settings
        What the lab was told.
    """

    settings: Settings

    def __post_init__(self) -> None:
        """Refuse a service without TLS where its authority is named: no token goes out in the clear by a mistake."""
        if self.settings.service_ca and self.settings.service.startswith("http:"):
            msg = f"service = {self.settings.service!r}: https:// is expected, since service_ca is set"
            raise SettingsError(msg)

    @property
    def home(self) -> Path:
        """Folder of the lab's catalog, objects, runs and reports."""
        return self.settings.home

    @property
    def cache(self) -> Path:
        """Folder of what can be made again: converted networks, downloads."""
        return self.home / "cache"

    @cached_property
    def catalog(self) -> "Catalog":
        """The trusted side: the hub's service where the settings name it; else this process, without roles."""
        if self.settings.service:
            from ailab_kernel.ground.remote_catalog import RemoteCatalog

            return RemoteCatalog(self.settings.service, token_env=token_variable(), cache=self.cache / "objects",
                                 ca=self.settings.service_ca)  # fmt: skip
        from ailab_kernel.ground.sql_catalog import SqlCatalog

        return SqlCatalog(**self.trusted_parts())

    def trusted_parts(self) -> dict[str, Any]:
        """What a catalog in this process is made of: database, objects, keys."""
        from ailab_kernel.ground.seal import Keys
        from ailab_kernel.ground.stores import open_store

        self.home.mkdir(parents=True, exist_ok=True)
        return {
            "url": self.settings.catalog or f"sqlite:///{self.home / 'catalog.sqlite'}",
            "store": open_store(self.settings.objects, home=self.home, key=self.settings.objects_key),
            "keys": Keys(self.home / "keys"),
            "lock": self.home / "catalog.lock",
        }

    def within(self, home: Path) -> "Workspace":
        """Return a workspace that keeps its own catalog and objects below ``home``, and is otherwise like this one."""
        kept = {"home": home, "catalog": "", "objects": Settings.model_fields["objects"].default}
        return Workspace(self.settings.model_copy(update=kept))

    @cached_property
    def archive(self) -> "Archive":
        """The image archive that the setting ``archive`` names; every use of it stands in the audit trail."""
        if self.settings.service:              # whose proxy writes it down
            return self.plain_archive
        from ailab_kernel.archives.audited import AuditedArchive

        return AuditedArchive(self.plain_archive, self.catalog.audit)

    @cached_property
    def plain_archive(self) -> "Archive":
        """The same archive without a trail: for the trusted process, which writes its own."""
        from ailab_kernel.archives.archive import open_archive

        return open_archive(self.archive_url)

    @property
    def archive_url(self) -> str:
        """The archive's URL, a folder with its full path; behind the hub the service's proxy, unless one was named."""
        if self.settings.service and self.settings.archive == Settings.model_fields["archive"].default:
            told = {"token_env": token_variable(), "ca": self.settings.service_ca}
            options = urlencode({key: value for key, value in told.items() if value})
            return f"dicomweb+{self.settings.service.rstrip('/')}/dicom-web?{options}"
        scheme, _, rest = self.settings.archive.partition(":")
        relative = scheme == "folder" and not rest.startswith("/")
        return f"folder:{self.home / rest}" if relative else without_password(self.settings.archive)

    def __reduce__(self) -> tuple[type["Workspace"], tuple[Settings]]:
        """Travel to a worker as settings; it opens its own archive and catalog there."""
        return Workspace, (self.settings,)

    def environment(self) -> dict[str, str]:
        """``AILAB_*`` variables that open this same workspace in another process."""
        settings = self.settings.model_copy(update={"archive": self.archive_url})
        return {f"{PREFIX}{key.upper()}": str(value) for key, value in settings.model_dump().items()}

    @property
    def jobs_url(self) -> str:
        """Database of the durable jobs."""
        return self.settings.jobs or f"sqlite:///{self.home / 'jobs.sqlite'}"


def token_variable() -> str:
    """Return the name of the variable that holds the token for the service: ours, else the hub's.

    Raises
    ------
    SettingsError
        Neither is set.
    """
    found = next((name for name in _TOKENS if os.environ.get(name)), None)
    if found is None:
        msg = f"the service needs a token: set {_TOKENS[0]} (a server of the hub has {_TOKENS[1]})"
        raise SettingsError(msg)
    return found


def open_workspace(folder: Path | None = None, **overrides: str | Path | None) -> Workspace:
    """Open the workspace whose settings hold in ``folder``; ``overrides`` beat them (``home=``, ``archive=``)."""
    return Workspace(load_settings(folder, **overrides))
