"""The router: its models, its plans, what answers were worth."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = "replies scores waves router_models"
COLUMNS = "intents candidates quality cost propensity"


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for table in TABLES.split():
        op.execute(f"drop table {table} cascade")
    for column in COLUMNS.split():
        op.execute(f"alter table routes drop column {column}")
