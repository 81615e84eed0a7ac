"""Builds jobs and drives them through the true statements: plan, bind, claim, commit."""

import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import psycopg

from core.deployment import Usage
from core.money import Price
from core.plan import Plan
from core.size import Size
from core.status import AttemptStatus, Back, ResultStatus
from core.work import Batch, Entry, GiveBack, Kept, LeasedChunk, Move, Result, Settled, Window
from db import audit as auditing
from db.connect import Connection
from db.dispatch import Binding, bind
from db.finish import end_job
from db.lease import claim
from db.lifecycle import NewJob, next_job_id, put_job
from db.linked import LinkedKind, NewLinked, hold_parent, put_linked
from db.parts import month_part
from db.planning import PlannedChunk, put_decisions, put_plan, take_route_chunk
from db.processes import lock_orphans, put_back, register
from db.projects import open_project
from db.record import Report, commit
from db.replies import read_replies
from db.takeover import write_off
from routing.policies import Line
from tasks.binding import Binder
from tasks.horizon import CHUNK

PLAN = Plan(route="default", candidates=("small", "large"), max_output=100, max_attempts=6)
BOUND = 1000
NO_PRICE = Price(Decimal(0), Decimal(0))
SIZE = Size(tokens=10, text_bytes=60, overhead=144, output=100)
BODY = b'{"messages": [{"role": "user", "content": "1"}]}'
OK, ERROR, UNKNOWN = AttemptStatus.OK, AttemptStatus.ERROR, AttemptStatus.UNKNOWN
REQUESTS = b"""
insert into requests (part, job_id, seq, custom_id, row, target, body, prompt_hash)
select %(part)s, %(job_id)s, s, 'request-' || s, s + 1, 'default',
  '{"messages": [{"role": "user", "content": "' || s || '"}]}', ''
from generate_series(0, %(total)s - 1) as s
"""
ROUTE_CHUNK = b"""
insert into chunks (job_id, part, kind, size, seqs, tries, calls, tokens, bounds, status)
select %(job_id)s, %(part)s, 'route', count(*), array_agg(s),
  array_agg(0), array_agg(0), array_agg(0), array_agg(0), 'ready'
from generate_series(0, %(total)s - 1) as s
"""

Change = Callable[[Settled], None]


async def bind_fair(conn: Connection, deployment: str, *, room: int, rate: float = 0.0) -> int:
    """Binds what is planned at a deployment, to it, in fair order; how many chunks."""
    spare = max(0, CHUNK + room) if room <= 0 else 0
    line = Line(deployment, deployment, NO_PRICE, room=room, rate=rate, spare=spare)
    return await Binder(conn, {}, {deployment: line}).bind()


class Kit:
    """One yard's database with a process row of its own, driven step by step."""

    def __init__(self, conn: Connection, owner: int) -> None:
        self.conn = conn
        self.owner = owner
        self.numbers = itertools.count(1)

    @classmethod
    async def open(cls, conn: Connection, lease: float = 60.0) -> "Kit":
        """`conn` as autocommit; the process, which does all kinds of work, has a lease of so many
        seconds."""
        owner = await register(conn, kind="worker", host="test", pid=1, lease=lease, controls=True)
        return cls(conn, owner)

    async def job(
        self,
        total: int,
        *,
        project: str = "default",
        limit: int | None = None,
        size: int = 10,
        bound: int = BOUND,
        bind: bool = True,
    ) -> int:
        """A job in progress, planned into chunks of `size` on `small`; all of them bound, with
        what else is planned, unless `bind` is False."""
        owner = await open_project(self.conn, project)
        part = await month_part(self.conn)
        job_id = await next_job_id(self.conn)
        where = {"part": part, "job_id": job_id, "total": total}
        async with self.conn.transaction():
            await self.conn.execute(REQUESTS, where)
            new = NewJob(
                id=job_id,
                project=owner,
                part=part,
                name="",
                route="default",
                source="",
                config_digest="",
                metadata={},
                limit_nusd=limit,
                total=total,
                refused=0,
            )
            await put_job(self.conn, new)
            await self.conn.execute(ROUTE_CHUNK, where)
        await self.route(job_id, size, bound)
        if bind:
            await self.bind()
        return job_id

    async def linked(self, parent: int, total: int, kind: LinkedKind, *, size: int = 10) -> int:
        """A job linked to one of ours, planned and bound as `job` does it."""
        job_id = await next_job_id(self.conn)
        async with self.conn.transaction():
            held = await hold_parent(self.conn, 1, parent)
            new = NewLinked(
                id=job_id,
                parent_id=parent,
                kind=kind,
                route="default",
                total=total,
                source="",
                config_digest="",
            )
            await put_linked(self.conn, new)
            where = {"part": held.part, "job_id": job_id, "total": total}
            await self.conn.execute(REQUESTS, where)
            await self.conn.execute(ROUTE_CHUNK, where)
        await self.route(job_id, size)
        await self.bind()
        return job_id

    async def bind(self) -> None:
        """Binds all that is planned to where it stands."""
        planned = await self.rows(
            "select id, candidate, deployment from chunks where status = 'planned' order by id"
        )
        await bind(self.conn, [Binding(*row, '{"by": "ordered"}', row[0]) for row in planned])

    async def route(self, job_id: int, size: int, bound: int = BOUND) -> None:
        """Plans the job's route chunk."""
        async with self.conn.transaction():
            chunk = await take_route_chunk(self.conn, job_id)
            assert chunk is not None
            plan_id = await put_plan(self.conn, PLAN)
            groups = [chunk.seqs[at : at + size] for at in range(0, len(chunk.seqs), size)]
            planned = [
                PlannedChunk(plan_id, "small", group, [SIZE] * len(group), [bound] * len(group))
                for group in groups
            ]
            await put_decisions(self.conn, chunk, planned, [])

    async def claim(self, deployment: str = "small", room: int = 1) -> list[LeasedChunk]:
        """What is due now; chunks that wait are due, too, and those that are planned."""
        await self.bind()
        await self.conn.execute(b"update chunks set not_before = now() where status = 'waiting'")
        return await claim(self.conn, deployment, owner=self.owner, room=room)

    async def commit(
        self,
        settled: Iterable[Settled] = (),
        windows: Iterable[Window] = (),
        back: Iterable[GiveBack] = (),
    ) -> Report:
        """One commit under an id of its own."""
        batch = Batch(list(settled), list(windows), list(back))
        return await commit(self.conn, batch, commit_id=self.next_commit_id(), owner=self.owner)

    def next_commit_id(self) -> int:
        return (self.owner << 32) | next(self.numbers)

    async def intend(self, chunk: LeasedChunk, size: int | None = None) -> list[Entry]:
        """The entries that one window of the chunk was granted."""
        first = chunk.sent
        window = Window(chunk, chunk.size - first if size is None else size)
        await self.commit(windows=[window])
        return entries(chunk, range(first, first + window.granted))

    async def run(self, job_id: int, *, rounds: int = 30) -> None:
        """Answers whatever is left of the job, and ends it."""
        for _ in range(rounds):
            for deployment in ("small", "large"):
                for chunk in await self.claim(deployment, room=10**6):
                    while chunk.sent < chunk.size:
                        sent = await self.intend(chunk, 64)
                        if not sent:
                            await self.commit(back=[GiveBack(chunk)])
                            break
                        await self.commit([answered(entry) for entry in sent])
            if await end_job(self.conn, job_id):
                return
        raise AssertionError("the job does not end")

    async def audit(self, job_id: int | None = None) -> auditing.AuditReport:
        """The audit of the whole default project, or of a job."""
        return await auditing.audit(self.conn, 1, job_id)

    async def clean(self) -> auditing.AuditReport:
        """The audit, which finds nothing."""
        report = await self.audit()
        assert report.violations == ()
        return report

    async def rows(self, query: str, **params: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        return await (await self.conn.execute(query.encode(), params)).fetchall()

    async def value(self, query: str, **params: Any) -> Any:
        """The one value of a query."""
        [(value,)] = await self.rows(query, **params)
        return value


def entries(chunk: LeasedChunk, indexes: Iterable[int]) -> list[Entry]:
    return [Entry(chunk, index, BODY) for index in indexes]


def answered(entry: Entry, cost: int | None = None) -> Settled:
    """A call that brought the result, for 700 nano-dollars if its bound allows."""
    return Settled(
        entry,
        OK,
        latency_ms=30,
        cost_nusd=min(700, entry.bound) if cost is None else cost,
        usage=Usage(9, 5),
        http_status=200,
        result=Result(ResultStatus.COMPLETED, 200, f"req-{entry.seq}", '{"answer": "tab\\t"}'),
    )


def failed(entry: Entry) -> Settled:
    """A call after which the request is given up."""
    return Settled(
        entry,
        ERROR,
        latency_ms=20,
        cost_nusd=0,
        http_status=400,
        error_class="bad_request",
        error="no such field",
        result=Result(ResultStatus.FAILED, 400, error='{"code": "no_such_field"}'),
    )


def again(
    entry: Entry, *, candidate: int = 0, delay: float = 0.0, kind: str = "overloaded"
) -> Settled:
    """A call that has to be made once more, on this or on another candidate."""
    spent = int(kind != "throttled")
    tries = entry.chunk.tries[entry.index] + spent
    name = PLAN.candidates[candidate]
    bound = entry.bound if candidate == entry.chunk.candidate else 2 * entry.bound
    excluded = 0 if candidate == entry.chunk.candidate else 1 << entry.chunk.candidate
    move = Move(candidate, name, tries, bound, delay, kind, excluded)
    return Settled(entry, ERROR, 15, 0, http_status=503, error_class=kind, error="busy", move=move)


def kept(entry: Entry, score: float | None = None) -> Kept:
    """The answer of the entry's call, to be kept."""
    return Kept(entry.n, entry.chunk.deployment, f'{{"answer": {entry.n}}}', score)


def escalated(entry: Entry, score: float | None = None) -> Settled:
    """An answered call that is not enough: `large` is asked."""
    ended = answered(entry)
    move = Move(1, "large", 0, 2 * entry.bound, 0.0, "escalated", 1)
    ended.result, ended.move, ended.kept = None, move, kept(entry, score)
    return ended


def earlier(settled: Settled, of: Kept) -> Settled:
    """A call that ends its request with an earlier answer."""
    settled.move = None
    if settled.result is not None:
        settled.kept = kept(settled.entry)
    settled.result = Result(ResultStatus.COMPLETED, 200, body=of.body, of=of, step="{}")
    return settled


def in_doubt(entry: Entry) -> Settled:
    """A call that nobody knows the end of, booked at its bound and made again."""
    again_ = again(entry, kind="unknown")
    return Settled(
        entry, UNKNOWN, 0, entry.bound, error_class="unknown", error="?", move=again_.move
    )


def connect(database_url: str) -> Any:
    """An autocommit connection, as the pool's are."""
    return psycopg.AsyncConnection.connect(database_url, autocommit=True)


async def take_over(kit: Kit, *, dead: int) -> int:
    """What the sweep does with a dead process' chunks, by another process; returns how many
    calls were in doubt."""
    await kit.conn.execute(b"update processes set lease_until = now() where id = %s", (dead,))
    async with kit.conn.transaction():
        orphans = await lock_orphans(kit.conn)
        replies = await read_replies(kit.conn, (left.chunk for left in orphans))
        doubtful = [in_doubt(e) for left in orphans for e in entries(left.chunk, left.doubtful)]
        for one in doubtful:
            one.entry.replies = replies.get((one.entry.chunk.job_id, one.entry.seq), ())
        stopped = {left.chunk.id for left in orphans if left.stopped}
        await write_off(
            kit.conn,
            doubtful,
            stopped=stopped,
            commit_id=kit.next_commit_id(),
            owner=kit.owner,
        )
        for left in orphans:
            await put_back(kit.conn, left)
    return len(doubtful)


async def some_steps(kit: Kit) -> None:
    """The first calls of a job whose answers are judged: one is enough at once; others are on
    their way to `large`, were answered there, failed there, or were better before."""
    small, *_ = await kit.claim()
    sent = await kit.intend(small, 6)
    ended = [answered(sent[0]), *(escalated(one, 0.4) for one in sent[1:])]
    await kit.commit(ended, back=[GiveBack(small)])
    large, *_ = await kit.claim("large")
    first = {one.seq: kept(one, 0.4) for one in sent}
    flying = await kit.intend(large, 3)
    for one in flying:
        one.replies = (first[one.seq],)
    await kit.commit(
        [
            answered(flying[0]),
            earlier(again(flying[1], candidate=1), flying[1].replies[0]),
            earlier(answered(flying[2]), flying[2].replies[0]),
        ],
        back=[GiveBack(large)],
    )


async def some_of_everything(kit: Kit, other: Kit) -> list[Entry]:
    """A job's first calls: answers, errors, retries, fallbacks, a give-back, a dead process
    (`kit`'s) and its late reply. What is left is ready, waiting, leased or in flight; returns
    the entries in flight, which are `other`'s."""
    first, second, third = await kit.claim(room=25)
    sent = await kit.intend(first, 8)
    await kit.commit(
        [
            answered(sent[0]),
            answered(sent[1], cost=0),
            again(sent[2]),
            again(sent[3], candidate=1),
            failed(sent[4]),
            again(sent[5], delay=5.0, kind="throttled"),
            in_doubt(sent[6]),
        ],
        windows=[Window(second, 6)],
    )
    half = entries(second, range(6))
    await kit.commit([answered(one) for one in half[:3]], windows=[Window(third, 2)])
    await kit.commit(back=[GiveBack(third, unsent=2, reason=Back.SLICE)])
    await take_over(other, dead=kit.owner)
    await kit.commit([answered(half[3], cost=450)])
    fallen, *_ = await other.claim("large", room=1)
    await other.commit([answered(one) for one in await other.intend(fallen)])
    # Retries come first; they go back.
    fourth, *small = sorted(await other.claim(room=20), key=lambda one: -one.size)
    await other.commit(back=[GiveBack(one) for one in small])
    flying = await other.intend(fourth, 5)
    await other.commit([answered(flying[0]), again(flying[1], delay=9.0)])
    return flying[2:]
