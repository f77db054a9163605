"""Runs the migrations on the one connection that `state.database` hands over.

In: ``config.attributes["connection"]``, a SQLAlchemy connection inside a transaction. Out: schema ``rowtide`` at the
newest version, recorded in ``rowtide.alembic_version``. Rule: one upgrade at a time (advisory lock), one transaction
for all of it.
"""

from alembic import context
from sqlalchemy import text

from state.database import SCHEMA
from state.tables import metadata

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('rowtide.migrations'))"))
# CREATE SCHEMA IF NOT EXISTS asks for the privilege even when the schema is there.
if connection.scalar(text("SELECT to_regnamespace(:schema) IS NULL"), {"schema": SCHEMA}):
    connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_schemas=True,
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
