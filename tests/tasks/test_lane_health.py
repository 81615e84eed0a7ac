"""What lanes do about a deployment that is closed, or being tried."""

import asyncio
from collections import Counter

from core.status import Cause, DeploymentStatus
from db.health import conditions, drain, pause, trip
from tasks.dispatch import dispatch
from tests.faults.lanes import BOUND, HttpReply, Lanes, Permits, Provider, completion, open_lanes

REQUESTS = 120
CHUNK = 20
BUSY = HttpReply(503, {}, b'{"error": {"message": "busy"}}')


async def learn(lanes: Lanes) -> None:
    """All workers look how deployments stand."""
    async with lanes.pool.connection() as conn:
        for yard in lanes.yards:
            await yard.caller.health.exchange(conn)


async def unsent(lanes: Lanes, job: int) -> Counter[str]:
    """Requests that nobody holds or has sent, by the status of their chunks."""
    async with lanes.pool.connection() as conn:
        cursor = await conn.execute(
            "select status, sum(size) from chunks where job_id = %s and status <> 'done'"
            " group by 1",
            (job,),
        )
        return Counter(dict(await cursor.fetchall()))


def test_a_provider_that_breaks_gets_few_calls_and_keeps_nothing(database_url: str) -> None:
    async def story() -> None:
        provider = Provider(lambda _: BUSY)
        async with open_lanes(database_url, provider, Permits(), workers=2, claim=CHUNK) as lanes:
            job = await lanes.kit.job(REQUESTS, size=CHUNK)
            await lanes.run(4)
            await learn(lanes)
            async with lanes.pool.connection() as conn:
                standing = (await conditions(conn))["small"]
            assert standing.status is DeploymentStatus.COOLING
            assert "HTTP 503, busy" in standing.reason
            calls = provider.calls
            left = await unsent(lanes, job)
            assert "leased" not in left
            assert left.total() == REQUESTS
            # It is closed: lanes find nothing to do, and nobody has lost more than an attempt.
            await lanes.run(4)
            assert provider.calls == calls
            async with lanes.pool.connection() as conn:
                cursor = await conn.execute("select max(t) from chunks, unnest(tries) as t")
                assert await cursor.fetchone() == (1,)
            assert (await lanes.audit(job)).violations == ()

    asyncio.run(story())


def test_one_that_is_tried_again_gets_one_claim_and_opens_with_the_first_answer(
    database_url: str,
) -> None:
    async def story() -> None:
        provider = Provider(lambda _: completion(10))
        async with open_lanes(database_url, provider, Permits(), workers=1, claim=CHUNK) as lanes:
            job = await lanes.kit.job(REQUESTS, size=CHUNK)
            async with lanes.pool.connection() as conn:
                await trip(conn, ["small"], cause=Cause.FAILURES, reason="broken", jitter=1.0)
                await conn.execute("update deployment_state set until = now()")
            await learn(lanes)
            assert lanes.yards[0].caller.health.probes("small")
            status = await lanes.finish(job, lanes=4)
            await learn(lanes)
            assert status == "completed"
            async with lanes.pool.connection() as conn:
                assert await conditions(conn) == {}

    asyncio.run(story())


def test_a_drained_deployment_sends_what_is_bound_and_a_paused_one_nothing(
    database_url: str,
) -> None:
    async def story() -> None:
        provider = Provider(lambda _: completion(10))
        async with open_lanes(database_url, provider, Permits(), workers=1, claim=CHUNK) as lanes:
            for close, stays in ((drain, "ready"), (pause, "planned")):
                job = await lanes.kit.job(CHUNK, size=CHUNK)
                async with lanes.pool.connection() as conn:
                    await close(conn, ["small"])
                await learn(lanes)
                assert await unsent(lanes, job) == {stays: CHUNK}
                await lanes.run(2)
                assert provider.calls == CHUNK

    asyncio.run(story())


def test_a_drained_deployment_that_dies_fails_nobody_and_others_take_its_work(
    database_url: str,
) -> None:
    """Its server is gone while it sends what it has: with one attempt each, every request would
    fail. It stays drained, and what it had is free for the other candidate."""

    async def story() -> None:
        provider = Provider(lambda _: BUSY)
        async with open_lanes(database_url, provider, Permits(), workers=1, claim=CHUNK) as lanes:
            job = await lanes.kit.job(REQUESTS, size=CHUNK, bound=BOUND)
            async with lanes.pool.connection() as conn:
                await drain(conn, ["small"])
            await learn(lanes)
            await lanes.run(1)
            await learn(lanes)
            calls = provider.calls
            assert calls < REQUESTS
            async with lanes.pool.connection() as conn:
                standing = (await conditions(conn))["small"]
                assert (standing.shown, standing.drained) == (DeploymentStatus.COOLING, True)
                await dispatch(lanes.yards[0].context)
                cursor = await conn.execute(
                    "select deployment, sum(size) from chunks where status in"
                    " ('ready', 'waiting', 'planned') and kind = 'call' group by 1"
                )
                assert await cursor.fetchall() == [("large", REQUESTS)]
            provider.answer = lambda _: completion(10)
            assert await lanes.finish(job, lanes=2) == "completed"
            assert await lanes.results(job) == {"completed": list(range(REQUESTS))}
            async with lanes.pool.connection() as conn:
                cursor = await conn.execute(
                    "select deployment, sum(retries), sum(fallbacks) from job_counters"
                    " group by 1 order by 1"
                )
                assert await cursor.fetchall() == [("large", 0, 0), ("small", 0, calls)]
            assert (await lanes.audit(job)).violations == ()

    asyncio.run(story())
