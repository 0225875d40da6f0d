"""The tables of an adapter's ledger (SQLAlchemy Core)."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table, Text, UniqueConstraint, text

METADATA = MetaData()

ARRIVALS = Table(
    "arrivals",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("uid", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("series_uid", String(64), nullable=False),
    Column("sop_class", String(64), nullable=False),
    Column("syntax", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sender", String(100), nullable=False),
    Column("at", Float, nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("uid", "content", name="one_arrival"),
    Index("arrivals_by_study", "study_uid"),
)

WORK = Table(
    "work",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("study_uid", String(64), nullable=False),
    Column("rule", String(60), nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("deadline_at", Float, nullable=False),
    Column("told", Text, nullable=False),
    Index("work_by_state", "state"),
)

# Sums of the arrivals by study, kept in their transaction; open: it has to be looked at.
STUDIES = Table(
    "studies",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("kept", Integer, nullable=False),
    Column("conflict", Integer, nullable=False),
    Column("aside", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("open", Integer, nullable=False),
    Index("studies_open", "last_at", sqlite_where=text("open = 1"), postgresql_where=text("open = 1")),
)

# And by minute since 1970, for the curve of the last hour.
MINUTES = Table(
    "minutes",
    METADATA,
    Column("minute", Integer, primary_key=True),
    Column("instances", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("uid", String(64), primary_key=True),
    Column("destination", String(60), primary_key=True),
    Column("work", String(32), primary_key=True),
    Column("path", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", Float, nullable=False),
    Index("deliveries_by_state", "state", "destination"),
)

COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("transaction", String(64), primary_key=True),
    Column("caller", String(16), primary_key=True),
    Column("asked", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", Float, nullable=False),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("transaction", String(128), primary_key=True),
    Column("caller", String(60), nullable=False),
    Column("rule", String(60), nullable=False),
    Column("asked", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("work", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("requests_by_state", "state"),
)
