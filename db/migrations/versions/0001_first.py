"""The first schema."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

# Children first: nothing may still refer to what is dropped.
TABLES = """
    ledger results attempts chunks routes requests plans job_events job_counters jobs accounts
    parts deployment_state deployment_vitals turns provider_checks dispatches job_numbers lanes
    processes projects
"""


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for table in TABLES.split():
        op.execute(f"drop table {table} cascade")
