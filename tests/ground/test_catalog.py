import multiprocessing
import os
import signal
import time

import pytest
import sqlalchemy as sa

from ailab_kernel.ground.errors import CatalogError, NotFound, SettingsError
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.seal import Keys
from ailab_kernel.ground.sql_catalog import SqlCatalog
from ailab_kernel.ground.store import FolderStore
from tests.databases import postgres


def open_catalog(folder, url=""):
    return SqlCatalog(url or f"sqlite:///{folder}/catalog.sqlite", store=FolderStore(folder / "objects"),
                      keys=Keys(folder / "keys"), lock=folder / "lock")  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(request, tmp_path):
    if request.param == "sqlite":
        yield open_catalog(tmp_path)
        return
    with postgres() as url:
        yield open_catalog(tmp_path, url)


def test_the_ledger(catalog):
    first = catalog.append("model", {"dice": 0.9}, name="heart-wall")
    second = catalog.append("model", {"dice": 0.95}, name="heart-wall", parents=[first.digest])
    assert (first.ref, second.ref) == ("heart-wall@1", "heart-wall@2")
    assert second.parents == (first.digest,)
    assert catalog.append("model", {"dice": 0.9}, name="heart-wall") == first, "equal content, equal record"
    assert [r.version for r in catalog.query("model", name="heart-wall")] == [1, 2]
    assert catalog.query("model", digest=second.digest) == [second]
    assert catalog.query("dataset") == []


def test_aliases_have_a_history(catalog):
    first, second = (catalog.append("dataset", {"n": n}, name="lungs") for n in (1, 2))
    catalog.point("dataset", "lungs", "champion", digest=first.digest, reason="first")
    catalog.point("dataset", "lungs", "champion", digest=second.digest, reason="better")
    assert catalog.resolve("dataset", "lungs", "champion") == second
    assert [move.reason for move in catalog.history("dataset", "lungs")] == ["first", "better"]
    with pytest.raises(NotFound, match="champion"):
        catalog.resolve("dataset", "lungs", "challenger")
    with pytest.raises(NotFound):
        catalog.point("dataset", "lungs", "champion", digest="0" * 64)


def test_the_audit_trail_is_a_chain(catalog):
    for number in range(3):
        catalog.audit("transfer", series=f"1.2.{number}")
    trail, chain = catalog.audit_trail(), ""
    for row in trail:
        told = {key: row[key] for key in ("seq", "at", "by", "event", "detail")}
        chain = sha256(canonical_json(told) + chain.encode())
        assert row["chain"] == chain
    assert [row["seq"] for row in trail] == list(range(1, len(trail) + 1))
    assert [row["event"] for row in trail][-3:] == ["transfer"] * 3
    assert catalog.audit_findings() == ()


def test_keys(catalog, tmp_path):
    signature = catalog.sign(b"report")
    assert catalog.verify(b"report", signature)
    assert not catalog.verify(b"reporu", signature)
    assert not catalog.verify(b"report", "no signature")
    assert catalog.pseudonym("patient", "A") == catalog.pseudonym("patient", "A") != catalog.pseudonym("series", "A")
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "keys").iterdir())
    assert not catalog.roles_enforced


def test_the_way_back_from_a_pseudonym(catalog):
    pseudonym = catalog.pseudonym("patient", "Müller 7")
    assert catalog.pseudonym("patient", "Müller 7") == pseudonym
    assert catalog.reidentify(pseudonym, "a finding") == "Müller 7"
    with pytest.raises(NotFound):
        catalog.reidentify(catalog.pseudonym("uid", "Müller 7"), "a finding")


def _ask(folder, number):
    catalog = open_catalog(folder)
    for one in range(20):
        catalog.pseudonym("patient", f"P{one}")


def test_writers_who_meet_on_a_pseudonym_keep_one_entry(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_ask, args=(tmp_path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    catalog = open_catalog(tmp_path)
    assert {catalog.reidentify(catalog.pseudonym("patient", f"P{one}"), "x") for one in range(20)} == {
        f"P{one}" for one in range(20)}  # fmt: skip


def test_reopening_keeps_everything(tmp_path):
    record = open_catalog(tmp_path).append("dataset", {"cases": []}, name="heart-wall")
    assert open_catalog(tmp_path).query("dataset") == [record]


def _append(folder, start, count):
    catalog = open_catalog(folder)
    for number in range(start, start + count):
        catalog.append("model", {"n": number}, name="one")
        catalog.audit("import", n=str(number))


def test_writers_share_numbers_without_gaps_or_doubles(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append, args=(tmp_path, 100 * n, 20)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    catalog = open_catalog(tmp_path)
    assert sorted(r.version for r in catalog.query("model")) == list(range(1, 61))
    assert [row["seq"] for row in catalog.audit_trail()] == list(range(1, 61))


def test_what_was_acknowledged_survives_kill(tmp_path):
    writer = multiprocessing.get_context("spawn").Process(target=_append, args=(tmp_path, 0, 10_000))
    writer.start()
    while not (tmp_path / "catalog.sqlite").exists():
        time.sleep(0.05)
    time.sleep(3)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    catalog = open_catalog(tmp_path)
    seen = [r.body["n"] for r in catalog.query("model")]
    assert seen == list(range(len(seen)))
    assert len(seen) > 10
    assert len(catalog.audit_trail()) in {len(seen), len(seen) - 1}


def test_sqlite_is_durable(tmp_path):
    catalog = open_catalog(tmp_path)
    with catalog._engine.connect() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_migrations_end_at_the_tables(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from ailab_kernel.ground.tables import METADATA

    with open_catalog(tmp_path)._engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), METADATA) == []
        assert "records" in sa.inspect(db).get_table_names()


def test_bad_addresses_are_told(tmp_path):
    with pytest.raises(SettingsError, match="oracle9"):
        open_catalog(tmp_path, "oracle9://x")
    with pytest.raises(CatalogError, match="cannot be opened"):
        open_catalog(tmp_path, "postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(CatalogError, match="cannot be opened"):
        open_catalog(tmp_path, f"sqlite:///{tmp_path}/no/such/folder/x.sqlite")
