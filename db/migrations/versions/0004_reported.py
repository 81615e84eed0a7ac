"""What providers reported beyond what was booked, and turns that know of their project's jobs."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"

COLUMNS = {"attempts": "unbooked_nusd", "job_counters": "unbooked_nusd", "chunks": "crowd"}


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        for column in columns.split():
            op.execute(f"alter table {table} drop column {column}")
