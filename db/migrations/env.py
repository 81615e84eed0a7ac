"""Alembic's entry: runs on the connection that `db.migrate` hands over."""

from alembic import context

from db.schema import PARTITIONED, metadata


def _ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
    """Partitions are created at run time and are no part of the migrations."""
    return not (kind == "table" and name and name.startswith(tuple(f"{t}_p" for t in PARTITIONED)))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=_ours,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
