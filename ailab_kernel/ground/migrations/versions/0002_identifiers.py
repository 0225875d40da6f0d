"""Known identifiers, as keyed hashes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the index."""
    op.create_table(
        "identifiers",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("head", sa.String(32), nullable=False),
        sa.Column("words", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
    )
    op.create_index("identifiers_by_head", "identifiers", ["head"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("identifiers")
