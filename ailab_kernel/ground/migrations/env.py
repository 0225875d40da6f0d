"""Alembic's entry: runs on the connection that `sql_catalog` hands over."""

from alembic import context

from ailab_kernel.ground.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
