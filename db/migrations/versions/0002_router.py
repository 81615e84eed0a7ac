"""The router: its models, its plans, what answers were worth."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = "links replies scores scorings waves router_models"
COLUMNS = {
    "routes": "intents intent_probability candidates quality cost propensity",
    "results": "step",
    "chunks": "came_from",
    "job_counters": "escalations out_of_scope needs_clarification",
    "deployment_state": "drained",
}
DRAINED = """
update deployment_state set status = 'drained', cause = 'operator', until = null where drained
"""


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for table in TABLES.split():
        op.execute(f"drop table {table} cascade")
    op.execute("drop index ix_jobs_parent_id")
    op.execute("drop index ix_chunks_plan")
    op.execute(DRAINED)
    for table, columns in COLUMNS.items():
        for column in columns.split():
            op.execute(f"alter table {table} drop column {column}")
