"""The tables of who works in the yard and how deployments stand; the others are in
`db/schema.py`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import REAL

from db.metadata import ZERO, id_column, metadata, time_column

# One row a process; its lease covers everything the process owns. `controls`: it takes the
# tickets of dispatch.
processes = Table(
    "processes",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("controls", Boolean, nullable=False, server_default=text("false")),
    time_column("started_at", now=True),
    time_column("renewed_at", now=True),
    Column("lease_until", DateTime(timezone=True), nullable=False),
)

# One row a ticket: queued until its slice starts, running until it ends.
lanes = Table(
    "lanes",
    metadata,
    id_column(),
    Column("provider", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    Column("process_id", BigInteger),
    time_column("issued_at", now=True),
    time_column("started_at"),
    CheckConstraint("status in ('queued', 'running')", name="status"),
)

# The job number given last. Not a sequence: those jump by up to 32 when Postgres is killed, and
# a number that a refused submit took could not be given back.
job_numbers = Table(
    "job_numbers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False, server_default=ZERO),
    CheckConstraint("id = 1", name="one"),
)

# The one row that dispatch locks, so that one at a time runs in the whole yard.
dispatches = Table(
    "dispatches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    time_column("at"),
    CheckConstraint("id = 1", name="one"),
)

# Fair order, written by dispatch alone. For each deployment on which work is planned: where the
# last chunk of every job that waits there ended among its project's jobs, and (job_id 0) of
# every such project among projects, with the clock of its jobs. Project 0 stands for the
# deployment itself: the clock of its projects, and in `clock` the last turn of its bound chunks.
# `head` is how large a job's next chunk was when it was last looked at: who comes next is told by
# it, without a look at everybody's chunks.
turns = Table(
    "turns",
    metadata,
    Column("deployment", Text, nullable=False),
    Column("project_id", BigInteger, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("reached", Double, nullable=False),
    Column("clock", Double, nullable=False, server_default=ZERO),
    Column("head", Integer, nullable=False, server_default=ZERO),
    PrimaryKeyConstraint("deployment", "project_id", "job_id"),
    postgresql_with={"fillfactor": "50"},
)

# How a line stands, where it ever was anything but open. `trips` counts how often in a row its
# breaker opened: each time for longer. `drained` is an operator's word beside the status: it
# gets nothing new, however it fares with what it has.
deployment_state = Table(
    "deployment_state",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("status", Text, nullable=False, server_default=text("'open'")),
    Column("cause", Text),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("trips", SmallInteger, nullable=False, server_default=ZERO),
    Column("margin", Double, nullable=False, server_default=text("1")),
    Column("drained", Boolean, nullable=False, server_default=text("false")),
    time_column("until"),
    time_column("updated_at", now=True),
    CheckConstraint(
        "status in ('open', 'cooling', 'probing', 'disabled', 'paused', 'drained')", name="status"
    ),
)

# Health checks of self-hosted servers: whoever moves `checked_at` on makes the next one.
provider_checks = Table(
    "provider_checks",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default=ZERO),
    time_column("checked_at", now=True),
)

# How each deployment fares in each process that calls it: its present calls, what it has seen
# since it began, and means of the recent past (milliseconds, tokens, calls a second).
deployment_vitals = Table(
    "deployment_vitals",
    metadata,
    Column("deployment", Text, nullable=False),
    Column(
        "process_id", BigInteger, ForeignKey("processes.id", ondelete="CASCADE"), nullable=False
    ),
    Column("in_flight", Integer, nullable=False, server_default=ZERO),
    Column("answered", BigInteger, nullable=False, server_default=ZERO),
    Column("failed", BigInteger, nullable=False, server_default=ZERO),
    Column("latency_ms", REAL),
    Column("output_tokens", REAL),
    Column("rate", REAL, nullable=False, server_default=ZERO),
    time_column("at", now=True),
    PrimaryKeyConstraint("deployment", "process_id"),
)

# What holds calls back: for each deployment, what of a scope's limits a process waited for lately
# (`core/brake.py`), up to when, for how much of that time, and the limit in force.
brakes = Table(
    "brakes",
    metadata,
    Column("deployment", Text, nullable=False),
    Column(
        "process_id", BigInteger, ForeignKey("processes.id", ondelete="CASCADE"), nullable=False
    ),
    Column("scope", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("most", Double, nullable=False),
    Column("share", REAL, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("deployment", "process_id", "scope", "what"),
)
