"""Who a patient's pseudonym stands for, encrypted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the map; pseudonyms that were made before have no entry until they are asked for again."""
    op.create_table(
        "patients",
        sa.Column("pseudonym", sa.String(16), primary_key=True),
        sa.Column("hidden", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("patients")
