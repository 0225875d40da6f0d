"""What the doctor looks at in the lab: object store, catalog, seal key, archive, jobs."""

import fcntl
import os
import sqlite3
import stat
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .findings import Check, Finding, Place, fail, ok, warn

if TYPE_CHECKING:
    from ailab_kernel.ground.store import ObjectStore

_RESTORE = "restore it from a backup, or open a new lab (AILAB_HOME) and keep this folder"
_SECRET_BYTES = 32
_PROBE = b"ailab doctor"
_NOBODYS_UID = "2.25.0"  # a query for a study that nobody has: it proves the way, and no patient's data come back


@runtime_checkable
class Echoing(Protocol):
    """An archive that answers C-ECHO (PS3.7 9.1.5)."""

    def echo(self) -> None:
        """Raise ArchiveError unless the archive is there and takes us."""


def store(place: Place) -> Finding:
    """Write an object, read it and check it; a folder gets a probe beside the objects, which is removed again."""
    from ailab_kernel.ground.stores import open_store

    if place.service:
        return _through_the_service(place)
    settings = place.workspace.settings
    objects = open_store(settings.objects, home=place.home, key=settings.objects_key)
    if "://" in settings.objects.removeprefix("file://"):
        _write_and_read(objects)
        return ok(f"an object was written, read and verified at {settings.objects.partition('://')[0]}://")
    folder = place.home / settings.objects.removeprefix("file://")
    if not folder.exists():
        return _not_yet(folder)
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as probe:
        _write_and_read(open_store(probe, home=place.home, key=settings.objects_key))
    encrypted = ", encrypted," if settings.objects_key else ""
    return ok(f"an object was written, read and verified{encrypted} beside the others")


def _write_and_read(objects: "ObjectStore") -> None:
    digest = objects.put(_PROBE)
    objects.check(digest)
    objects.get(digest)


def _not_yet(folder: Path) -> Finding:
    """Whether a folder that is not there could be made."""
    above = next(path for path in folder.parents if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return fail("the lab's folder cannot be made: this user may not write above it",
                    "set AILAB_HOME (or home in ailab.toml) to a folder that this user may write")  # fmt: skip
    return ok("none yet; it is made when it is first used")


def _through_the_service(place: Place) -> Finding:
    _write_and_read(place.workspace.catalog)
    return ok("an object was written, read and verified through the service")


def catalog(place: Place) -> Finding:
    """Look at the database's integrity, its migration and how much is in it."""
    if place.service:
        count = len(place.workspace.catalog.query("model"))
        return ok(f"answers through the service, {count} models; its own state is the hub admin's: ailab doctor there")
    url = place.workspace.settings.catalog or f"sqlite:///{place.home / 'catalog.sqlite'}"  # opening it would make it
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            return ok("none yet; it is made when it is first used")
        broken = _integrity(path)
        if broken:
            return fail(f"SQLite says: {broken}", _RESTORE)
    return _migration(url)


def _integrity(path: Path) -> str:
    """What SQLite finds wrong with a file; empty when it is whole."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=10)) as db:
            said = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return "" if said == ["ok"] else "; ".join(said)


def _migration(url: str) -> Finding:
    import sqlalchemy as sa
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from ailab_kernel.ground import sql_catalog

    config = Config()
    config.set_main_option("script_location", str(Path(sql_catalog.__file__).parent / "migrations"))
    head = ScriptDirectory.from_config(config).get_current_head()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as db:
        here = db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        count = db.exec_driver_sql("SELECT count(*) FROM records").scalar()
    kind = engine.dialect.name
    if here != head:
        step = "back it up, then open the lab once with this version (ailab models list): it migrates itself"
        return warn(f"{kind}: at migration {here}, this version of AI-LAB has {head}", step)
    return ok(f"{kind}: whole, at migration {here}, {count} records")


def seal(place: Place) -> Finding:
    """Look at the signing key: there, whole, its owner's only, and able to sign."""
    from ailab_kernel.ground.seal import Keys

    if place.service:
        return ok("held by the trusted process, as it should be")
    folder = place.home / "keys"
    path = folder / "signing.key"
    if not path.exists():
        if any((place.home / "reports").glob("*/manifest.sig")):
            step = "restore keys/signing.key from a backup: without it no older report can be verified"
            return fail("the signing key is gone, though reports were sealed with it", step)
        return ok("none yet; it is made with the first seal")
    found = path.stat()
    if found.st_size != _SECRET_BYTES:
        return fail(f"the signing key has {found.st_size} bytes instead of {_SECRET_BYTES}",
                    "restore keys/signing.key from a backup")  # fmt: skip
    if stat.S_IMODE(found.st_mode) & 0o077:
        return fail(f"others can read the signing key (mode {stat.S_IMODE(found.st_mode):o})",
                    f"chmod 600 {path}; whoever read it can sign as this lab: consider a new lab")  # fmt: skip
    keys = Keys(folder)
    if not keys.verify(b"doctor", keys.sign(b"doctor")):
        return fail("a signature of the key does not hold", "restore keys/signing.key from a backup")
    return ok("signs and verifies; only its owner can read it")


def archive(place: Place) -> Finding:
    """Ask the archive whether it is there: C-ECHO, QIDO for nobody's study, or the folder's rights."""
    url = place.workspace.archive_url
    if url.startswith("folder:"):
        return _folder(Path(url.removeprefix("folder:")))
    found = place.workspace.archive
    if isinstance(found, Echoing):
        found.echo()
        return ok(f"C-ECHO answered: {found.url.partition('?')[0]}")
    found.search_studies(study=_NOBODYS_UID)
    return ok(f"QIDO answered: {found.url.partition('?')[0]}")


def _folder(path: Path) -> Finding:
    if not path.exists():
        return ok("a folder that is made when the first study is stored")
    if not path.is_dir():
        return fail("the archive's folder is a file", "set archive in ailab.toml to another folder")
    if not os.access(path, os.R_OK | os.X_OK):
        return fail("the archive's folder cannot be read", f"give this user the right: chown or chmod {path}")
    if not os.access(path, os.W_OK):
        return warn("the archive's folder cannot be written: results cannot be stored",
                    f"give this user the right: chown or chmod {path}")  # fmt: skip
    return ok(f"folder {path}")


def jobs(place: Place) -> Finding:
    """Count the queue's jobs, and say when they wait for nobody."""
    from ailab_kernel.work.jobs import Jobs

    url = place.workspace.jobs_url
    file = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if file is not None and not file.exists():
        return ok("none yet")
    if file is not None and (broken := _integrity(file)):
        return fail(f"the queue's database: SQLite says: {broken}", _RESTORE)
    counts = Counter(job.state for job in Jobs(url, kinds={}).all())
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
    if counts["failed"]:
        return warn(told, "ailab jobs list says why; submit them again when it is cured")
    if file is not None and counts["queued"] + counts["running"] and not _worker(file):
        return warn(f"{told}; no worker is at work", "ailab jobs work takes them up, also what a dead worker left")
    return ok(told)


def _worker(file: Path) -> bool:
    """Whether some worker holds its name's lock beside the queue."""
    for lock in file.parent.glob(f"{file.name}.*.lock"):
        with lock.open("rb") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


CHECKS = {
    "store": Check(store, "check the disk's space and the rights of the lab's folder (objects in ailab.toml)"),
    "catalog": Check(catalog, f"check its address, rights and space; {_RESTORE}"),
    "seal": Check(seal, "check the rights of the folder keys in the lab; restore it from a backup"),
    "archive": Check(archive, "check archive in ailab.toml, the network, and whether the PACS knows this machine"),
    "jobs": Check(jobs, "check jobs in ailab.toml, its database's rights and space"),
}
