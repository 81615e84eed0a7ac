"""The tables of the router: its models, what it planned, and what answers were worth."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL

from db.metadata import id_column, metadata, time_column

# Trained models, immutable but for which version is promoted. `body` is the model's file
# (without pickle), `info` what can be told of it: candidates, columns, figures, data, versions.
router_models = Table(
    "router_models",
    metadata,
    id_column(),
    Column("project_id", BigInteger, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("promoted", Boolean, nullable=False, server_default=text("false")),
    Column("body", LargeBinary, nullable=False),
    Column("info", JSONB, nullable=False, server_default=text("'{}'")),
    time_column("created_at", now=True),
    UniqueConstraint("project_id", "name", "version"),
    Index(
        "ix_router_models_promoted",
        "project_id",
        "name",
        unique=True,
        postgresql_where=text("promoted"),
    ),
    CheckConstraint("task in ('choice', 'intent')", name="task"),
)

# One row a wave of a job that is planned as a whole: prices, shares, expectations (JSON).
waves = Table(
    "waves",
    metadata,
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("body", JSONB, nullable=False),
    time_column("at", now=True),
    PrimaryKeyConstraint("job_id", "wave"),
)

# What a scorer says of a request's result: 0 is worthless, 1 is right.
scores = Table(
    "scores",
    metadata,
    Column("part", Integer, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("round", SmallInteger, nullable=False),
    Column("scorer", Text, nullable=False),
    Column("value", Double, nullable=False),
    time_column("at", now=True),
    PrimaryKeyConstraint("part", "job_id", "seq", "round", "scorer"),
    postgresql_partition_by="LIST (part)",
)

# How a job's results are scored: `gold` is the metadata column of the right answer, `scorer` as
# `evaluation/scorers.py` reads it. The pass that `began_at` has come to the requests before
# `scored_to`; the `last` one began after the job's end, and all is `done` when it is over.
scorings = Table(
    "scorings",
    metadata,
    Column(
        "job_id",
        BigInteger,
        ForeignKey("jobs.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("gold", Text, nullable=False),
    Column("scorer", Text, nullable=False),
    Column("scored_to", Integer, nullable=False, server_default=text("0")),
    time_column("began_at"),
    Column("last", Boolean, nullable=False, server_default=text("false")),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    Index("ix_scorings_due", "job_id", postgresql_where=text("not done")),
)

# Answers that did not become the result at once: of the cheap steps of a cascade. `score` is the
# probability that it is right, where something told one. Written in the transaction of the call.
replies = Table(
    "replies",
    metadata,
    Column("part", Integer, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("n", SmallInteger, nullable=False),
    Column("round", SmallInteger, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("score", REAL),
    PrimaryKeyConstraint("part", "job_id", "seq", "n"),
    postgresql_partition_by="LIST (part)",
)

# Which request of a linked job answers for a request of its parent: `kind` is the linked job's.
links = Table(
    "links",
    metadata,
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("linked_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("linked_seq", Integer, nullable=False),
    PrimaryKeyConstraint("job_id", "kind", "seq"),
    Index(None, "linked_id"),
    CheckConstraint("kind in ('clarified', 'intent', 'pilot')", name="kind"),
)
