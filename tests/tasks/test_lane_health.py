"""What lanes do about a deployment that is closed, or being tried."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from core.ports import Ask, Buckets, Grant, Return
from core.status import Cause, DeploymentStatus
from db.health import conditions, drain, pause, trip
from providers.errors import TransportError
from tasks.dispatch import dispatch
from tests.faults.lanes import BOUND, HttpReply, Lanes, Permits, Provider, completion, open_lanes

REQUESTS = 120
CHUNK = 20
AT_ONCE = 16
MOST_ATTEMPTS = 6
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


class Few(Permits):
    """No more calls at once than the line's own buckets say."""

    def __init__(self) -> None:
        super().__init__()
        self.flying = 0

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        free = (scopes[0].in_flight or AT_ONCE) - self.flying
        granted = max(0, min(len(asks), free))
        self.flying += granted
        return Grant(granted, wait=0.05, full=True)

    def give_back(self, scopes: Sequence[Buckets], back: Return) -> None:
        self.flying -= back.calls


async def probe(lanes: Lanes) -> None:
    """Cooling is over and what waits is due: lanes try a few calls."""
    async with lanes.pool.connection() as conn:
        await conn.execute("update deployment_state set until = now() where status = 'cooling'")
        await conn.execute("update chunks set not_before = now() where status = 'waiting'")
    await learn(lanes)
    await lanes.run(2)
    await learn(lanes)


def lost(_: int) -> HttpReply:
    raise TransportError("no answer in time", may_have_arrived=True)


def test_probes_of_one_that_hangs_go_round_the_requests(database_url: str) -> None:
    """Each probe may have been paid and costs an attempt; as long as there are others, never
    the same one's."""

    async def story() -> None:
        provider = Provider(lost)
        async with open_lanes(database_url, provider, Few(), workers=2, claim=CHUNK) as lanes:
            job = await lanes.kit.job(REQUESTS, size=CHUNK, bound=BOUND)
            await lanes.run(2)
            await learn(lanes)
            while provider.calls < 2 * REQUESTS:
                await probe(lanes)
            async with lanes.pool.connection() as conn:
                cursor = await conn.execute(
                    "select min(t), max(t) from chunks, unnest(tries) as t"
                    " where status <> 'done' and kind = 'call'"
                )
                ((fewest, most),) = await cursor.fetchall()
            assert most - fewest <= 2
            provider.answer = lambda _: completion(10)
            await probe(lanes)
            assert await lanes.finish(job, lanes=2) == "completed"
            assert await lanes.results(job) == {"completed": list(range(REQUESTS))}
            assert (await lanes.audit(job)).violations == ()

    asyncio.run(story())


def test_requests_that_hang_wherever_they_go_come_to_an_end(database_url: str) -> None:
    async def story() -> None:
        provider = Provider(lost)
        async with open_lanes(database_url, provider, Few(), workers=1, claim=CHUNK) as lanes:
            job = await lanes.kit.job(CHUNK, size=CHUNK, bound=BOUND)
            while await unsent(lanes, job):
                await lanes.kit.bind()
                await probe(lanes)
            assert await lanes.finish(job, lanes=1) == "completed"
            assert await lanes.results(job) == {"failed": list(range(CHUNK))}
            assert provider.calls == CHUNK * MOST_ATTEMPTS
            assert (await lanes.account(job))[:2] == (provider.calls * BOUND, 0)
            assert (await lanes.audit(job)).violations == ()

    asyncio.run(story())
