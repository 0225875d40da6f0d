"""The catalog's tables (SQLAlchemy Core); `migrations/` brings a database to them."""

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData()

RECORDS = Table(
    "records",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(40), nullable=False),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("parents", Text, nullable=False),
    Column("made_at", String(40), nullable=False),
    Column("made_by", String(200), nullable=False),
    UniqueConstraint("kind", "name", "version", name="one_version"),
    UniqueConstraint("digest", name="one_content"),
    Index("records_by_name", "kind", "name"),
)

ALIASES = Table(
    "aliases",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(40), nullable=False),
    Column("name", String(200), nullable=False),
    Column("alias", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("moved_at", String(40), nullable=False),
    Column("moved_by", String(200), nullable=False),
    Index("aliases_by_name", "kind", "name", "alias"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("by", String(200), nullable=False),
    Column("event", String(80), nullable=False),
    Column("detail", Text, nullable=False),
    Column("chain", String(64), nullable=False),
)

IDENTIFIERS = Table(
    "identifiers",
    METADATA,
    Column("token", String(32), primary_key=True),
    Column("head", String(32), nullable=False),
    Column("words", Integer, nullable=False),
    Column("kind", String(40), nullable=False),
    Index("identifiers_by_head", "head"),
)

PATIENTS = Table(
    "patients",
    METADATA,
    Column("pseudonym", String(16), primary_key=True),
    Column("hidden", Text, nullable=False),
)
