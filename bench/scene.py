"""A large yard made by SQL alone: many active jobs, most of their work planned and not bound."""

from dataclasses import dataclass
from decimal import Decimal

from core.money import Price
from db.connect import Connection
from routing.policies import Line
from tasks.binding import CHUNK, Binder

PROVIDER = "sim"
DEPLOYMENTS = ("small", "medium", "large")
# Rows of about 900 bytes. The arrays of a full chunk are compressed to little more, which takes
# minutes for half a million; nothing measured here looks into them.
ENTRIES = 40
BOUND, WAITING, LEASED, ORPHANED = 1_000, 500, 64, 20


@dataclass(frozen=True, slots=True)
class Scene:
    """How many jobs are active, and how many open chunks they have together."""

    jobs: int
    chunks: int


PEOPLE = (
    "insert into projects (name) values ('default') on conflict do nothing",
    """
insert into plans (digest, body) values ('p',
  '{"route": "default", "candidates": ["small", "medium", "large"], "max_output": 64,
    "max_attempts": 6}')
""",
    """
insert into accounts (project_id, kind, ref) values (1, 'project', '') on conflict do nothing
""",
    """
insert into processes (kind, host, pid, lease_until) values
  ('worker', 'here', 1, now() + interval '1 hour'),
  ('worker', 'there', 2, now() - interval '1 hour')
""",
    """
insert into lanes (provider, status, process_id)
  select 'sim', 'running', 1 from generate_series(1, 16)
""",
)

# As many jobs again have ended, each with a tenth of the chunks.
JOBS = """
with paid as (
  insert into accounts (project_id, kind, ref, limit_nusd)
  select 1, 'job', i::text, 1000000000000 from generate_series(1, %(jobs)s * 2) as i
  returning id, ref::int as i
)
insert into jobs (project_id, account_id, project_account_id, part, status, route, total,
  in_progress_at, ended_at)
select 1, id, 1, 202601, case when i <= %(jobs)s then 'in_progress' else 'completed' end,
  'default', 100000, now(), case when i > %(jobs)s then now() end
from paid order by i
"""

# Turn by turn over the jobs, as jobs of one time are routed; three deployments in turn.
CHUNKS = """
insert into chunks (job_id, part, plan_id, candidate, excluded, deployment, size, seqs, tries,
  calls, tokens, text_bytes, overheads, outputs, bounds, status)
select 1 + i %% %(jobs)s, 202601, 1, i / %(jobs)s %% 3, (1 << i / %(jobs)s %% 3) - 1,
  (%(deployments)s::text[])[1 + i / %(jobs)s %% 3], %(size)s,
  s.seqs, s.smalls, s.smalls, s.tokens, s.tokens, s.tokens, s.tokens, s.bounds, 'planned'
from generate_series(0, %(chunks)s - 1) as i, (
  select array_agg(i::int) as seqs, array_agg(0::smallint) as smalls,
    array_agg((150 + random() * 200)::int) as tokens,
    array_agg((100000 + random() * 200000)::bigint) as bounds
  from generate_series(1, %(size)s) as i
) s
"""
ENDED = """
insert into chunks (job_id, part, plan_id, deployment, size, seqs, tries, calls, tokens, bounds,
  sent, status)
select %(jobs)s + 1 + i %% %(jobs)s, 202601, 1, 'small', 1, '{1}', '{0}', '{0}', '{200}',
  '{200000}', 1, 'done' from generate_series(1, %(chunks)s / 10) as i
"""
BIND = """
update chunks set status = %(status)s, owner = %(owner)s, sent = %(sent)s,
  not_before = now() + %(delay)s * interval '1 second' * random()
where id in (select id from chunks where status = 'planned' order by id limit %(count)s)
"""
COUNTERS = """
insert into job_counters (job_id, deployment, writer, attempts)
select i, d, 1, 100 from generate_series(1, %(jobs)s) as i, unnest(%(deployments)s::text[]) as d
"""


async def fill(conn: Connection, scene: Scene) -> int:
    """Fills an empty, migrated database; returns the living process' id."""
    params = {
        "jobs": scene.jobs,
        "chunks": scene.chunks,
        "size": ENTRIES,
        "deployments": list(DEPLOYMENTS),
    }
    for statement in PEOPLE:
        await conn.execute(statement.encode())
    for statement in (JOBS, CHUNKS, ENDED, COUNTERS):
        await conn.execute(statement.encode(), params)
    await _bind(conn, BOUND, "ready", delay=-30)
    await _bind(conn, WAITING, "waiting", delay=60)
    await _bind(conn, LEASED, "leased", owner=1, sent=ENTRIES // 2)
    await _bind(conn, ORPHANED, "leased", owner=2, sent=ENTRIES // 2)
    # What autovacuum comes to by itself on a table of this size.
    await conn.execute("vacuum analyze")
    # Everybody waits in turn, as in a yard that has been at work.
    await bind_room(conn, CHUNK)
    await conn.execute("analyze turns")
    return 1


async def bind_room(conn: Connection, room: int) -> int:
    """Binds what a dispatch binds that sees so much room at each deployment; how many chunks."""
    price = Price(Decimal(1), Decimal(2))
    lines = {name: Line(name, name, price, room=room, ahead=room) for name in DEPLOYMENTS}
    return await Binder(conn, {}, lines).bind()


async def _bind(
    conn: Connection,
    count: int,
    status: str,
    *,
    delay: float = 0,
    owner: int | None = None,
    sent: int = 0,
) -> None:
    params = {"count": count, "status": status, "delay": delay, "owner": owner, "sent": sent}
    await conn.execute(BIND.encode(), params)
