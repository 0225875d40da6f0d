"""From settings to what rooms work with: the archive, the catalog, and where things lie.

The one place that knows whether the trusted side runs in this process or behind the hub.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_kernel.ground.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive
    from ailab_kernel.ground.catalog import Catalog


@dataclass(frozen=True)
class Workspace:
    """An opened lab without its verbs: what rooms are handed.

    Attributes
    ----------
    settings
        What the lab was told.
    """

    settings: Settings

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
        """The trusted side; in a pilot it runs in this process and enforces no roles."""
        from ailab_kernel.ground.seal import Keys
        from ailab_kernel.ground.sql_catalog import SqlCatalog
        from ailab_kernel.ground.store import open_store

        self.home.mkdir(parents=True, exist_ok=True)
        return SqlCatalog(
            self.settings.catalog or f"sqlite:///{self.home / 'catalog.sqlite'}",
            store=open_store(self.settings.objects, home=self.home),
            keys=Keys(self.home / "keys"),
            lock=self.home / "catalog.lock",
        )

    @cached_property
    def archive(self) -> "Archive":
        """The image archive that the setting ``archive`` names."""
        from ailab_kernel.archives.archive import open_archive

        return open_archive(self.archive_url)

    @property
    def archive_url(self) -> str:
        """The archive's URL, a folder with its full path."""
        scheme, _, rest = self.settings.archive.partition(":")
        relative = scheme == "folder" and not rest.startswith("/")
        return f"folder:{self.home / rest}" if relative else self.settings.archive

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


def open_workspace(folder: Path | None = None, **overrides: str | Path | None) -> Workspace:
    """Open the workspace whose settings hold in ``folder``; ``overrides`` beat them (``home=``, ``archive=``)."""
    return Workspace(load_settings(folder, **overrides))
