"""What alembic runs: the migrations, in the transaction that `api.migrate` has begun."""

from alembic import context

from api.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table in place: alembic copies it. The copy is part of the transaction.
    render_as_batch=True,
    transactional_ddl=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
