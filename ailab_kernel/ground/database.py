"""A database by URL: SQLite so that every commit survives a power loss, or PostgreSQL; what is missing is named."""

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchModuleError

from .errors import MissingExtra, SettingsError


def open_engine(url: str, *, pooled: bool = False, what: str = "catalog") -> sa.Engine:
    """Return an engine for ``sqlite:///...`` or ``postgresql+psycopg://...``.

    Parameters
    ----------
    url
        SQLAlchemy URL.
    pooled
        Keep connections open between uses: for one process that does not fork. Else nothing stays open.
    what
        Name of the setting, for errors.

    Raises
    ------
    SettingsError, MissingExtra
        No such database is known, or its library is absent.
    """
    try:
        engine = sa.create_engine(url) if pooled else sa.create_engine(url, poolclass=sa.NullPool)
    except NoSuchModuleError as error:
        msg = f"{what} = {url.partition(':')[0]!r} is no database known here; sqlite and postgresql+psycopg are"
        raise SettingsError(msg) from error
    except ModuleNotFoundError as error:
        msg = f"the {what} needs {error.name}; pip install 'ailab-kernel[postgres]'"
        raise MissingExtra(msg) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _pragmas)
        sa.event.listen(engine, "begin", _take_write_lock)
    return engine


def _pragmas(connection, _) -> None:  # noqa: ANN001 - SQLAlchemy's event signature
    """WAL lets readers go on during a write; FULL survives a power loss after every commit."""
    connection.isolation_level = None          # we say BEGIN ourselves: sqlite3 would defer the lock
    for pragma in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _take_write_lock(connection: sa.Connection) -> None:
    """A deferred transaction that later writes can fail with SQLITE_BUSY at once; an immediate one waits its turn."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
