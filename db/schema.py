"""The tables, as SQLAlchemy metadata; `db/migrations` builds them.

Where rows are many they are immutable and append-only (requests, attempts, results,
ledger); the row that is updated often is the chunk. Everything belongs to a project.
The big tables are partitioned by LIST (part): a month for small jobs, a number of its own
for a large one (`db/parts.py`). Money is integer nano-dollars, times are the database's.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

from db import router_tables, yard_tables
from db.metadata import EMPTY, NOW, ZERO, id_column, metadata, time_column

__all__ = ("PARTITIONED", "metadata", "router_tables", "yard_tables")

PARTITIONED = ("requests", "routes", "attempts", "results", "scores", "replies")

projects = Table(
    "projects",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, unique=True),
    Column("weight", REAL, nullable=False, server_default=text("1")),
    time_column("created_at", now=True),
)

parts = Table(
    "parts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    time_column("created_at", now=True),
)

# Who may spend what. A budget is an account with a limit; spent + reserved never passes it.
accounts = Table(
    "accounts",
    metadata,
    id_column(),
    Column("project_id", BigInteger, ForeignKey("projects.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("spent_nusd", BigInteger, nullable=False, server_default=ZERO),
    Column("reserved_nusd", BigInteger, nullable=False, server_default=ZERO),
    Column("limit_nusd", BigInteger),
    UniqueConstraint("project_id", "kind", "ref"),
    CheckConstraint("kind in ('job', 'key', 'project', 'deployment')", name="kind"),
    CheckConstraint("reserved_nusd >= 0", name="reserved"),
    CheckConstraint("spent_nusd >= 0", name="spent"),
)

jobs = Table(
    "jobs",
    metadata,
    id_column(),
    Column("project_id", BigInteger, ForeignKey("projects.id"), nullable=False),
    Column("account_id", BigInteger, ForeignKey("accounts.id"), nullable=False),
    Column("project_account_id", BigInteger, ForeignKey("accounts.id"), nullable=False),
    Column("part", Integer, nullable=False),
    Column("kind", Text, nullable=False, server_default=text("'live'")),
    Column("parent_id", BigInteger),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False, server_default=text("'validating'")),
    Column("stop", Text),
    Column("route", Text, nullable=False),
    Column("round", SmallInteger, nullable=False, server_default=text("1")),
    Column("weight", REAL, nullable=False, server_default=text("1")),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("total", Integer, nullable=False, server_default=ZERO),
    Column("source", Text, nullable=False, server_default=text("''")),
    Column("config_digest", Text, nullable=False, server_default=text("''")),
    Column("errors", JSONB),
    time_column("deadline"),
    time_column("created_at", now=True),
    time_column("in_progress_at"),
    time_column("finalizing_at"),
    time_column("stopping_at"),
    time_column("ended_at"),
    Index("ix_jobs_active", "id", postgresql_where=text("ended_at is null")),
    Index("ix_jobs_project_id_id", "project_id", "id"),
    Index("ix_jobs_parent_id", "parent_id", postgresql_where=text("parent_id is not null")),
)

# Each process updates only its own row, so nobody waits; reading sums.
job_counters = Table(
    "job_counters",
    metadata,
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("deployment", Text, nullable=False),
    Column("writer", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("errors", Integer, nullable=False, server_default=ZERO),
    Column("throttled", Integer, nullable=False, server_default=ZERO),
    Column("unknown", Integer, nullable=False, server_default=ZERO),
    Column("retries", Integer, nullable=False, server_default=ZERO),
    Column("fallbacks", Integer, nullable=False, server_default=ZERO),
    Column("completed", Integer, nullable=False, server_default=ZERO),
    Column("failed", Integer, nullable=False, server_default=ZERO),
    Column("unpriced", Integer, nullable=False, server_default=ZERO),
    Column("input_tokens", BigInteger, nullable=False, server_default=ZERO),
    Column("output_tokens", BigInteger, nullable=False, server_default=ZERO),
    Column("cost_nusd", BigInteger, nullable=False, server_default=ZERO),
    Column("latency_ms", BigInteger, nullable=False, server_default=ZERO),
    time_column("updated_at", now=True),
    Column("escalations", Integer, nullable=False, server_default=ZERO),
    Column("out_of_scope", Integer, nullable=False, server_default=ZERO),
    Column("needs_clarification", Integer, nullable=False, server_default=ZERO),
    Column("unbooked_nusd", BigInteger, nullable=False, server_default=ZERO),
    PrimaryKeyConstraint("job_id", "deployment", "writer"),
    postgresql_with={"fillfactor": "50"},
)

job_events = Table(
    "job_events",
    metadata,
    id_column(),
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    time_column("at", now=True),
    Index(None, "job_id"),
)

# Immutable: the same candidates and rules are the same row, whichever job asked.
plans = Table(
    "plans",
    metadata,
    id_column(),
    Column("digest", Text, nullable=False, unique=True),
    Column("body", JSONB, nullable=False),
)

# Written once by COPY, never updated. `row` is the 1-based input line; `variant` tells several
# answers to one row apart. `body` is sent, with a model; `wishes` is for us (core/wishes.py).
requests = Table(
    "requests",
    metadata,
    Column("part", Integer, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("custom_id", Text, nullable=False),
    Column("row", Integer, nullable=False),
    Column("variant", SmallInteger, nullable=False, server_default=ZERO),
    Column("target", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("metadata", Text),
    Column("prompt_hash", LargeBinary, nullable=False),
    Column("wishes", Text),
    PrimaryKeyConstraint("part", "job_id", "seq"),
    postgresql_partition_by="LIST (part)",
)

# What the route step decided, packed: one row a route chunk, arrays in the order of seqs. Where a
# router predicted, `quality` and `cost` (USD for 1,000 calls) are float16, a row of `candidates`
# a request (routing/batch/packing.py).
routes = Table(
    "routes",
    metadata,
    Column("part", Integer, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("chunk_id", BigInteger, nullable=False, server_default=ZERO),
    Column("round", SmallInteger, nullable=False),
    Column("seqs", ARRAY(Integer), nullable=False),
    Column("plan_ids", ARRAY(BigInteger), nullable=False),
    Column("tokens", ARRAY(Integer), nullable=False),
    Column("reasons", JSONB, nullable=False, server_default=text("'{}'")),
    Column("model_version", Text, nullable=False, server_default=text("''")),
    time_column("at", now=True),
    Column("intents", ARRAY(Text)),
    Column("intent_probability", ARRAY(REAL)),
    Column("candidates", ARRAY(Text)),
    Column("quality", LargeBinary),
    Column("cost", LargeBinary),
    Column("propensity", ARRAY(REAL)),
    PrimaryKeyConstraint("part", "job_id", "chunk_id"),
    postgresql_partition_by="LIST (part)",
)

# Requests that travel together. The arrays run in step: entry i is request seqs[i], with
# tries[i] attempts spent and calls[i] calls made; entries before `sent` were given to the
# wire (or are in doubt), those after it never were. `bounds` is what each may cost at most on
# the candidate; tokens, text_bytes, overheads and outputs (core/size.py) bound it on any other.
# `excluded` are the candidates (bits) that have given up on the requests, `among` the list of
# the plan that the others are chosen from, `came_from` the candidate of their last calls, null
# before the first, `choice` why dispatch chose the present one (JSON).
# Bound chunks are claimed in the order of their `turn`; retries (0) first, but for those of a
# deployment that is known to be down, which go last. `crowd` are the weights of its project's jobs
# that a turn was reckoned among.
chunks = Table(
    "chunks",
    metadata,
    id_column(),
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("part", Integer, nullable=False),
    Column("round", SmallInteger, nullable=False, server_default=text("1")),
    Column("kind", Text, nullable=False, server_default=text("'call'")),
    Column("mode", Text, nullable=False, server_default=text("'live'")),
    Column("plan_id", BigInteger),
    Column("candidate", SmallInteger, nullable=False, server_default=ZERO),
    Column("came_from", SmallInteger),
    Column("excluded", BigInteger, nullable=False, server_default=ZERO),
    Column("among", Text, nullable=False, server_default=text("''")),
    Column("deployment", Text, nullable=False, server_default=text("''")),
    Column("size", Integer, nullable=False),
    Column("seqs", ARRAY(Integer), nullable=False),
    Column("tries", ARRAY(SmallInteger), nullable=False),
    Column("calls", ARRAY(SmallInteger), nullable=False),
    Column("tokens", ARRAY(Integer), nullable=False),
    Column("text_bytes", ARRAY(Integer), nullable=False, server_default=EMPTY),
    Column("overheads", ARRAY(Integer), nullable=False, server_default=EMPTY),
    Column("outputs", ARRAY(Integer), nullable=False, server_default=EMPTY),
    Column("bounds", ARRAY(BigInteger), nullable=False),
    Column("sent", Integer, nullable=False, server_default=ZERO),
    Column("status", Text, nullable=False),
    Column("owner", BigInteger),
    Column("fence", Integer, nullable=False, server_default=ZERO),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("turn", Double, nullable=False, server_default=ZERO),
    Column("crowd", Double, nullable=False, server_default=text("1")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("choice", Text, nullable=False, server_default=text("''")),
    Column("external_id", Text),
    Index(
        "ix_chunks_claim",
        "deployment",
        "turn",
        "not_before",
        "id",
        postgresql_where=text("status in ('ready', 'waiting') and kind = 'call'"),
    ),
    Index(
        "ix_chunks_planned",
        "deployment",
        "plan_id",
        "job_id",
        "id",
        postgresql_where=text("status = 'planned'"),
    ),
    Index(
        "ix_chunks_route",
        "job_id",
        "id",
        postgresql_where=text("kind = 'route' and status <> 'done'"),
    ),
    Index(
        "ix_chunks_plan",
        "job_id",
        "id",
        postgresql_where=text("kind = 'plan' and status <> 'done'"),
    ),
    Index("ix_chunks_open", "job_id", postgresql_where=text("status <> 'done'")),
    Index("ix_chunks_owner", "owner", postgresql_where=text("status = 'leased'")),
    CheckConstraint("cardinality(seqs) = size and sent between 0 and size", name="size"),
    CheckConstraint("among in ('', 'too_long', 'refused')", name="among"),
    postgresql_with={"fillfactor": "80"},
)

# One row a call that was made. The one change allowed: unknown becomes late or resolved.
attempts = Table(
    "attempts",
    metadata,
    Column("part", Integer, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("n", SmallInteger, nullable=False),
    Column("round", SmallInteger, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error_class", Text),
    Column("error", Text),
    Column("http_status", SmallInteger),
    Column("input_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("output_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("cost_nusd", BigInteger),
    Column("bound_nusd", BigInteger, nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("chunk_id", BigInteger, nullable=False, server_default=ZERO),
    Column("commit_id", BigInteger, nullable=False),
    time_column("at", now=True),
    Column("unbooked_nusd", BigInteger),
    PrimaryKeyConstraint("part", "job_id", "seq", "n"),
    CheckConstraint("status in ('ok', 'error', 'unknown', 'late', 'resolved')", name="status"),
    postgresql_partition_by="LIST (part)",
)

# Exactly one per request and round, by the key. The current result is the highest round's. `n`
# is the call that it comes from, `commit_id` that of the request's last call: in a cascade an
# earlier answer may be the result. 0 is the commit of results that no call of theirs brought.
# `step` (JSON) tells which step of a cascade answered.
results = Table(
    "results",
    metadata,
    Column("part", Integer, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("round", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("deployment", Text, nullable=False, server_default=text("''")),
    Column("n", SmallInteger, nullable=False, server_default=ZERO),
    Column("http_status", SmallInteger),
    Column("request_id", Text),
    Column("body", Text),
    Column("error", Text),
    Column("commit_id", BigInteger, nullable=False),
    time_column("at", now=True),
    Column("step", Text),
    PrimaryKeyConstraint("part", "job_id", "seq", "round"),
    postgresql_partition_by="LIST (part)",
)

# One line per (commit_id, account, kind). reserve > 0, release < 0, settle >= 0, adjust any.
ledger = Table(
    "ledger",
    metadata,
    Column("commit_id", BigInteger, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_nusd", BigInteger, nullable=False),
    time_column("at", now=True),
    PrimaryKeyConstraint("commit_id", "account_id", "kind"),
    Index(None, "account_id"),
    CheckConstraint("kind in ('reserve', 'settle', 'release', 'adjust')", name="kind"),
)
