"""The sweep: what a dead process may have sent is written off, and nothing else is touched."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from psycopg import OperationalError

from core.deployment import Deployment
from core.money import Price
from core.ports import Buckets, HttpCall, HttpReply
from core.settings import Settings
from core.work import GiveBack
from db.connect import open_pool
from db.finish import end_job
from db.lifecycle import stop_job
from db.processes import register, session_name
from db.record import Report
from tasks.calls.attempt import Caller
from tasks.context import Context
from tasks.record import Writer
from tasks.sweep import sweep
from tasks.yard import Yard
from tests.db.kit import BOUND, Kit, again, answered, connect, failed
from workers.limiter.redis_limiter import RedisLimiter

SETTINGS = Settings.model_validate(
    {
        "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
        "deployments": {
            "small": {"provider": "lab", "model": "my-8b"},
            "large": {"provider": "lab", "model": "my-70b"},
        },
        "routes": {"default": {"candidates": ["small", "large"]}},
    }
)
SMALL = Deployment(
    name="small",
    provider="lab",
    kind="openai",
    base_url="http://127.0.0.1:1/v1",
    model="my-8b",
    timeout=10,
    api_key=None,
    buckets=Buckets("small", None, None, None),
    price=Price(Decimal(1), Decimal(2)),
    context=None,
)
DEPLOYMENTS = {"small": SMALL, "large": replace(SMALL, name="large", model="my-70b")}


class NoCalls:
    """A transport for steps that must not call anybody."""

    async def send(self, call: HttpCall) -> HttpReply:
        raise AssertionError(f"called {call.url}")

    async def close(self) -> None:
        return


class Bell:
    """Remembers what was rung for."""

    def __init__(self) -> None:
        self.rung: list[tuple[int | str, ...]] = []

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None:
        self.rung.append((step, *args))


class Inn:
    """A yard that sweeps, and processes that die in it."""

    def __init__(self, database_url: str, broker_url: str) -> None:
        self.database_url = database_url
        self.broker_url = broker_url
        self.bell = Bell()
        self.deployments = dict(DEPLOYMENTS)

    def run(self, story: Callable[[Kit, Kit, Yard], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with await connect(self.database_url) as conn, self.yard() as yard:
                return await story(await Kit.open(conn), await Kit.open(conn), yard)

        return asyncio.run(inside())

    @asynccontextmanager
    async def yard(self) -> AsyncIterator[Yard]:
        async with open_pool(self.database_url) as pool, pool.connection() as conn:
            owner = (await Kit.open(conn)).owner
            writer = Writer(pool, owner, ignore)
            limiter = RedisLimiter(self.broker_url, holder=str(owner))
            caller = Caller(self.deployments, {}, NoCalls(), limiter)
            context = Context(SETTINGS, self.deployments, pool, self.bell)
            yield Yard(context, owner, writer, caller, asyncio.Event())
            await writer.close()
            await limiter.close()


async def ignore(report: Report) -> None:
    return


async def die(kit: Kit) -> None:
    await kit.conn.execute(b"update processes set lease_until = now() where id = %s", (kit.owner,))


async def yard_rows(yard: Yard, query: bytes, *params: object) -> None:
    """On a connection of the yard's: the kit's own may be waiting."""
    async with yard.context.pool.connection() as conn:
        await conn.execute(query, params)


async def restarted(kit: Kit, yard: Yard) -> None:
    """The yard's process reads its configuration again: it is younger than the job."""
    await kit.conn.execute(
        b"update processes set started_at = now() where id = %s", (yard.process_id,)
    )


@pytest.fixture
def inn(database_url: str, broker_url: str) -> Inn:
    return Inn(database_url, broker_url)


def test_a_process_that_froze_in_mid_transaction_holds_nobody_up_beyond_its_lease(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(20, limit=100 * BOUND)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 5)
        async with (
            open_pool(inn.database_url, name=session_name("far", 7)) as frozen,
            frozen.connection() as conn,
        ):
            row = await register(conn, kind="worker", host="far", pid=7, lease=60.0)
            await conn.execute("begin")
            await conn.execute("select 1 from accounts for update")
            waiting = asyncio.create_task(kit.commit([answered(sent[0])]))
            await sweep(yard)
            await asyncio.sleep(0.2)
            assert not waiting.done()
            ends = b"update processes set lease_until = now() where id = %s"
            await yard_rows(yard, ends, row)
            await sweep(yard)
            await waiting
            with pytest.raises(OperationalError):
                await conn.execute("commit")
        await kit.clean()

    inn.run(story)


def test_another_process_of_the_same_number_goes_on(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        async with (
            open_pool(inn.database_url, name=session_name("far", 7)) as living,
            living.connection() as conn,
        ):
            await register(conn, kind="worker", host="far", pid=7, lease=0.0)
            await register(conn, kind="worker", host="far", pid=7, lease=60.0)
            async with conn.transaction():
                await conn.execute("select 1 from accounts for update")
                await sweep(yard)

    inn.run(story)


def test_without_a_budget_a_call_in_doubt_needs_no_price_to_be_made_again(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(10, bound=0)
        [chunk] = await kit.claim()
        await kit.intend(chunk, 3)
        await die(kit)
        assert (await sweep(yard)).startswith("3 calls in doubt")
        assert await kit.rows("select * from results") == []
        ready = "select seqs from chunks where kind = 'call' and status = 'ready' order by seqs"
        assert await kit.rows(ready) == [([0],), ([1],), ([2],), ([*range(3, 10)],)]

    inn.deployments["small"] = replace(SMALL, price=None)
    inn.run(story)


def test_calls_in_doubt_are_written_off_and_the_rest_goes_back_untouched(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(20, limit=100 * BOUND)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 5)
        await kit.commit([answered(sent[0]), again(sent[1])])
        await die(kit)
        assert (await sweep(yard)).startswith("3 calls in doubt")
        rows = await kit.rows(
            "select seq, n, status, cost_nusd, bound_nusd, error_class from attempts"
            " where seq between 2 and 4 order by seq"
        )
        assert rows == [(seq, 1, "unknown", BOUND, BOUND, "unknown") for seq in (2, 3, 4)]
        chunks = await kit.rows(
            "select seqs, tries, calls, sent, status from chunks"
            " where kind = 'call' and status in ('ready', 'waiting') and 10 > any(seqs)"
            " order by seqs"
        )
        alone = [([seq], [1], [1], 0, "ready") for seq in (1, 2, 3, 4)]
        assert chunks == [*alone, ([5, 6, 7, 8, 9], [0] * 5, [0] * 5, 0, "ready")]
        facts = (await kit.clean()).facts
        assert facts["spent_nusd"] == 700 + 3 * BOUND
        assert (facts["unknown"], facts["unknown_nusd"]) == (3, 3 * BOUND)
        assert facts["reserved_nusd"] == 0
        assert ("dispatch",) in inn.bell.rung

    inn.run(story)


def test_the_living_keep_what_they_have(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(20)
        [mine] = await kit.claim()
        [theirs] = await other.claim()
        sent = await kit.intend(mine, 3)
        await other.intend(theirs, 4)
        await die(other)
        assert (await sweep(yard)).startswith("4 calls in doubt")
        await kit.commit([answered(one) for one in sent])
        assert (mine.sent, mine.open) == (3, 0)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["unknown"]) == (3, 4)

    inn.run(story)


def test_a_chunk_that_was_claimed_and_not_begun_goes_back_whole(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        await die(kit)
        assert (await sweep(yard)).startswith("0 calls in doubt")
        [same] = await other.claim()
        assert same.id == chunk.id
        assert same.seqs == chunk.seqs
        assert same.fence > chunk.fence + 1
        await kit.clean()

    inn.run(story)


def test_a_chunk_that_was_sent_whole_is_done(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(3, size=3)
        [chunk] = await kit.claim()
        await kit.intend(chunk)
        await die(kit)
        await sweep(yard)
        await other.run(job_id)
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["attempts"], facts["unknown"]) == (3, 6, 3)

    inn.run(story)


def test_the_late_reply_finds_its_cost_and_no_result(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(10)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 2)
        await die(kit)
        await sweep(yard)
        await other.run(job_id)
        await kit.commit([answered(one, cost=300) for one in sent], back=[GiveBack(chunk)])
        facts = (await kit.clean()).facts
        assert (facts["late"], facts["unknown"], facts["completed"]) == (2, 0, 10)
        assert facts["spent_nusd"] == 10 * 700 + 2 * 300

    inn.run(story)


def test_a_stopped_job_is_not_revived(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(20)
        [chunk] = await kit.claim()
        await kit.intend(chunk, 3)
        await stop_job(kit.conn, job_id)
        await die(kit)
        report = await sweep(yard)
        assert report.startswith("3 calls in doubt")
        assert ("finish", job_id) in inn.bell.rung
        assert await end_job(kit.conn, job_id) == "cancelled"
        facts = (await kit.clean()).facts
        assert (facts["cancelled"], facts["open"], facts["unknown"]) == (20, 0, 3)
        assert facts["reserved_nusd"] == 0

    inn.run(story)


def test_a_request_that_kills_its_workers_fails_in_the_end(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(1)
        for kills in range(6):
            victim = await Kit.open(kit.conn)
            [chunk] = await victim.claim() or await victim.claim("large")
            assert chunk.deployment == ("small" if kills < 3 else "large")
            await victim.intend(chunk)
            await die(victim)
            await sweep(yard)
        assert await end_job(kit.conn, job_id) == "completed"
        facts = (await kit.clean()).facts
        assert (facts["failed"], facts["unknown"]) == (1, 6)
        error = await kit.value("select error from results")
        assert "worker_lost" in error

    inn.run(story)


def test_a_deployment_that_was_taken_out_of_the_configuration(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(10)
        [chunk] = await kit.claim()
        await kit.intend(chunk, 2)
        await die(kit)
        del inn.deployments["small"]
        assert (await sweep(yard)).startswith("2 calls in doubt")
        rows = await kit.rows(
            "select deployment, seqs from chunks where status = 'planned' and deployment = 'large'"
            " order by seqs"
        )
        assert rows == [("large", [0]), ("large", [1])]
        assert (await kit.clean()).facts["unknown_nusd"] == 2 * BOUND
        await restarted(kit, yard)
        assert await sweep(yard) == "0 calls in doubt, 0 jobs to route, 0 to finish"
        assert await kit.value("select count(*) from chunks where deployment = 'small'") == 0

    inn.run(story)


@pytest.mark.parametrize("limit", [None, 10**9])
def test_what_waits_for_a_lost_deployment_moves_on_at_new_bounds(
    inn: Inn, limit: int | None
) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(450, size=200, limit=limit)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 2)
        await kit.commit([again(sent[0], delay=9.0)])
        await kit.commit([answered(sent[1])], back=[GiveBack(chunk)])
        await kit.conn.execute(b"update chunks set status = 'planned' where size = 50")
        del inn.deployments["small"]
        await sweep(yard)
        assert await kit.value("select count(*) from chunks where deployment = 'large'") == 0
        await restarted(kit, yard)
        await sweep(yard)
        assert await kit.rows(
            "select distinct deployment, candidate, status from chunks"
            " where kind = 'call' and status <> 'done'"
        ) == [("large", 1, "planned")]
        assert ("dispatch",) in inn.bell.rung
        bounds = await kit.value(
            "select array_agg(bounds[1]) from chunks where deployment = 'large'"
        )
        assert not {BOUND, 0} & set(bounds)
        await other.run(job_id)
        assert (await kit.clean()).facts["completed"] == 450

    inn.run(story)


def test_where_no_candidate_is_left_the_requests_fail_and_say_why(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(30)
        chunks = await kit.claim(room=20)
        sent = await kit.intend(chunks[0], 4)
        await kit.commit(
            [again(sent[0]), again(sent[1], candidate=1), answered(sent[2]), failed(sent[3])],
            back=[GiveBack(chunk) for chunk in chunks],
        )
        inn.deployments.clear()
        await restarted(kit, yard)
        assert await sweep(yard) == "0 calls in doubt, 0 jobs to route, 1 to finish"
        assert await end_job(kit.conn, job_id) == "completed"
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["failed"], facts["open"]) == (1, 29, 0)
        error = await kit.value("select error from results where seq = 9")
        assert "deployment_gone" in error
        assert "Put it back" in error

    inn.run(story)


def test_a_budget_does_not_move_on_to_a_deployment_without_a_price(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        await kit.job(3, limit=10**9)
        del inn.deployments["small"]
        inn.deployments["large"] = replace(inn.deployments["large"], price=None)
        await restarted(kit, yard)
        await sweep(yard)
        assert (await kit.clean()).facts["failed"] == 3

    inn.run(story)


def test_several_at_once_do_no_harm(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        for _ in range(3):
            await kit.job(300, size=5)
        for chunk in await kit.claim(room=10**6):
            await kit.intend(chunk, 2)
        claimed = await kit.value("select count(*) from chunks where status = 'leased'")
        while chunks := await kit.claim(room=10**6):
            for chunk in chunks:
                await kit.intend(chunk, 2)
            claimed += len(chunks)
        await die(kit)
        async with inn.yard() as second, inn.yard() as third:
            told = await asyncio.gather(*(sweep(one) for one in (yard, second, third, yard)))
        assert sum(int(line.split()[0]) for line in told) == 2 * claimed == 360
        facts = (await kit.clean()).facts
        assert (facts["unknown"], facts["open"]) == (360, 900)

    inn.run(story)


def test_bells_that_were_lost_are_rung_again(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        done, waiting = await kit.job(4, size=4), await kit.job(4, size=4)
        [chunk] = await kit.claim()
        await kit.commit([answered(one) for one in await kit.intend(chunk)])
        await kit.conn.execute(
            b"update chunks set status = case kind when 'route' then 'ready' else 'done' end"
            b" where job_id = %s",
            (waiting,),
        )
        assert await sweep(yard) == "0 calls in doubt, 1 jobs to route, 1 to finish"
        assert inn.bell.rung == [("route", waiting), ("finish", done)]

    inn.run(story)


def test_an_overdue_job_ends_expired(inn: Inn) -> None:
    async def story(kit: Kit, other: Kit, yard: Yard) -> None:
        job_id = await kit.job(10, size=5)
        [chunk] = await kit.claim()
        sent = await kit.intend(chunk, 2)
        await kit.conn.execute(b"update jobs set deadline = now() where id = %s", (job_id,))
        await sweep(yard)
        await kit.commit([answered(one) for one in sent], back=[GiveBack(chunk)])
        assert await end_job(kit.conn, job_id) == "expired"
        facts = (await kit.clean()).facts
        assert (facts["completed"], facts["expired"]) == (2, 8)

    inn.run(story)
