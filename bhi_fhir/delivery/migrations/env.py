"""Alembic's entry: the connection comes from migrating.py."""

from alembic import context

from bhi_fhir.delivery.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
