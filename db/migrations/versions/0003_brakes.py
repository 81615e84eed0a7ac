"""What keeps work waiting, and dispatch that reads no more of it than there is room for."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = {"turns": "head"}


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute("drop table brakes")
    for table, columns in COLUMNS.items():
        for column in columns.split():
            op.execute(f"alter table {table} drop column {column}")
