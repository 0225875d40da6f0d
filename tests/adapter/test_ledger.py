"""The ledger's sums: right after whatever came, found by an index, made up for by a ledger that had none."""

import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ailab_kernel.adapter.ledger import Arrival, Ledger, Worklist
from ailab_kernel.adapter.ledger.tables import ARRIVALS, METADATA, MINUTES, STUDIES
from ailab_kernel.adapter.ledger.work import UNLOOKED
from ailab_kernel.ground.errors import CatalogError
from tests.databases import postgres


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("server")
    made = Ledger(url)
    yield made
    METADATA.drop_all(made.engine)
    made.close()


def arrival(number: int, study: int = 1, *, content: str = "", state: str = "kept", at: float = 600.0) -> Arrival:
    return Arrival(f"1.{study}.{number}", content or f"{study}-{number}", f"1.{study}", f"1.{study}.0", "1.2", "1.2.1",
                   10, "S", at, state)  # fmt: skip


def test_sums_follow_the_arrivals(ledger):
    ledger.keep([arrival(1), arrival(2), arrival(1, 2)])
    ledger.keep([arrival(1), arrival(2, content="other"), arrival(9, state="aside", at=700.0)])
    with ledger.reader.connect() as db:
        sums = {row.study_uid: row for row in db.execute(sa.select(STUDIES))}
        minutes = db.execute(sa.select(MINUTES).order_by(MINUTES.c.minute)).all()
    assert (sums["1.1"].kept, sums["1.1"].conflict, sums["1.1"].aside, sums["1.1"].bytes) == (2, 1, 1, 40)
    assert (sums["1.2"].kept, sums["1.2"].open) == (1, 1)
    assert [tuple(one) for one in minutes] == [(10, 4, 40), (11, 1, 10)]
    assert [one["series"] for one in ledger.by_study()] == [1, 1]
    assert ledger.by_study(study_uid="1.1")[0]["last_at"] == 700.0


def test_a_settled_study_is_open_again_when_more_comes(ledger):
    worklist = Worklist(ledger)
    ledger.keep([arrival(1)])
    assert worklist.unlooked() == [("1.1", 1)]
    ledger.keep([arrival(2)])                  # while somebody looks
    worklist.settled("1.1", kept=1)
    assert worklist.unlooked() == [("1.1", 2)]
    worklist.settled("1.1", kept=2)
    assert worklist.unlooked() == []
    ledger.keep([arrival(2), arrival(3, state="aside")])       # nothing new to work on
    assert worklist.unlooked() == []
    ledger.keep([arrival(4)])
    assert worklist.unlooked() == [("1.1", 3)]


def test_a_ledger_without_sums_gets_them(ledger):
    ledger.keep([arrival(1), arrival(2), arrival(1, 2)])
    with ledger.engine.begin() as db:
        STUDIES.drop(db)
    again = Ledger(ledger.engine.url.render_as_string(hide_password=False))
    assert sorted(Worklist(again).unlooked()) == [("1.1", 2), ("1.2", 1)]
    again.close()


def test_what_to_look_at_is_found_by_an_index_however_much_has_come(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with ledger.engine.begin() as db:
        db.execute(STUDIES.insert(), [{"study_uid": f"1.{number}", "kept": 300, "conflict": 0, "aside": 0, "bytes": 9,
                                       "last_at": float(number), "open": number == 77} for number in range(30_000)])  # fmt: skip
    with ledger.reader.connect() as db:
        plan = " ".join(row.detail for row in db.execute(sa.text(f"EXPLAIN QUERY PLAN {UNLOOKED}")))
        assert "USING INDEX studies_open" in plan
        assert ARRIVALS.name not in plan
    start = time.perf_counter()
    assert Worklist(ledger).unlooked() == [("1.77", 300)]
    assert time.perf_counter() - start < 0.05
    ledger.close()


def test_what_the_database_does_not_take_leaves_nothing(ledger):
    good = arrival(1)
    with pytest.raises(CatalogError, match="did not take an arrival: "):
        ledger.keep([good, replace(arrival(2), content=None)])
    assert ledger.arrivals() == []
    assert ledger.keep([good]) == ["kept"]
    assert len(ledger.arrivals()) == 1
