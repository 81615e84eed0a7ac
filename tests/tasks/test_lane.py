"""What a lane does where some of its work cannot go on: the rest goes on."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from core.brake import Brake, Limit
from core.ports import Ask, Buckets, Grant, HttpReply
from core.settings import project_scope
from core.status import Back
from tests.faults.lanes import BOUND, SETTINGS, Lanes, Permits, Provider, completion, open_lanes


class Scarce(Permits):
    """Permits for whoever does not name one of the `held` scopes; those wait `seconds`."""

    def __init__(self, held: str, seconds: float) -> None:
        super().__init__()
        self._held = held
        self._seconds = seconds

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        if any(scope.key == self._held for scope in scopes):
            return Grant(0, self._seconds, brake=Brake(self._held, Limit.REQUESTS, 1))
        return await super().acquire(scopes, asks)


async def done(lanes: Lanes, job: int) -> int:
    return len((await lanes.results(job)).get("completed", []))


async def until_done(lanes: Lanes, job: int, count: int) -> None:
    async with asyncio.timeout(40):
        while await done(lanes, job) < count:
            await asyncio.sleep(0.02)


def test_a_slow_deployment_does_not_keep_its_lanes_from_the_fast_ones(database_url: str) -> None:
    """One lane, and work for both: the slow one's fills it, and has no permit for a second. What
    comes for the fast one while the lane lives is sent by it too."""

    async def story() -> None:
        provider, permits = Provider(lambda _: completion(1)), Scarce("small", 1.0)
        async with open_lanes(database_url, provider, permits, workers=1) as lanes:
            # Its slice is longer than the test.
            long = SETTINGS.yard.model_copy(update={"slice": 60.0})
            context = lanes.yards[0].context
            context = replace(context, settings=SETTINGS.model_copy(update={"yard": long}))
            lanes.yards[0] = replace(lanes.yards[0], context=context)
            slow = await lanes.kit.job(400, size=100, bound=BOUND)
            fast = await lanes.kit.job(50, size=50, bound=BOUND)
            move = "update chunks set deployment = 'large', candidate = 1 where job_id = %s"
            async with lanes.pool.connection() as conn:
                await conn.execute(move, (fast,))
            lane = asyncio.create_task(lanes.run(1))
            await until_done(lanes, fast, 50)
            later = await lanes.kit.job(30, size=30, bound=BOUND, bind=False)
            async with lanes.pool.connection() as conn, conn.transaction():
                await conn.execute(move, (later,))
                await conn.execute(
                    "update chunks set status = 'ready' where job_id = %s and status = 'planned'",
                    (later,),
                )
            await until_done(lanes, later, 30)
            lanes.yards[0].stopping.set()
            await lane
            assert await done(lanes, slow) == 0
            assert (await lanes.audit()).violations == ()
            async with lanes.pool.connection() as conn:
                cursor = await conn.execute(
                    "select sum(size)::int from chunks where job_id = %s and status = 'ready'",
                    (slow,),
                )
                assert await cursor.fetchone() == (400,)

    asyncio.run(story())


def test_a_lane_makes_the_retries_that_are_soon_due_itself(database_url: str) -> None:
    """Once the last call has been sent, nobody else would look for them at once."""

    async def story() -> None:
        refused: set[int] = set()

        def answer(number: int) -> HttpReply:
            if number % 5 == 0 and number not in refused:
                refused.add(number)
                return HttpReply(429, {}, b"{}")
            return completion(1)

        async with open_lanes(database_url, Provider(answer), Permits(), workers=1) as lanes:
            job = await lanes.kit.job(100, size=50, bound=BOUND)
            await lanes.run(1)
            assert len(refused) == 20
            assert await done(lanes, job) == 100
            assert (await lanes.audit()).violations == ()

    asyncio.run(story())


def test_what_waits_for_a_projects_permits_holds_nobody_else_up(database_url: str) -> None:
    """One lane; a project's permits are a second away, again and again. What others have, and what
    comes for them while the lane waits, is sent meanwhile."""

    async def story() -> None:
        scope = project_scope("frugal")
        provider, permits = Provider(lambda _: completion(1)), Scarce(scope, 1.0)
        async with open_lanes(database_url, provider, permits, workers=1) as lanes:
            yard = lanes.yards[0]
            caller = replace(yard.caller, projects={"frugal": Buckets(scope, 60)})
            # Its slice is longer than the test.
            long = SETTINGS.yard.model_copy(update={"slice": 60.0})
            context = replace(yard.context, settings=SETTINGS.model_copy(update={"yard": long}))
            lanes.yards[0] = replace(yard, caller=caller, context=context)
            held = await lanes.kit.job(180, project="frugal", size=20, bound=BOUND)
            free = await lanes.kit.job(600, size=100, bound=BOUND)
            lane = asyncio.create_task(lanes.run(1))
            await until_done(lanes, free, 600)
            later = await lanes.kit.job(30, size=30, bound=BOUND)
            await until_done(lanes, later, 30)
            lanes.yards[0].stopping.set()
            await lane
            assert await done(lanes, held) == 0
            assert (await lanes.audit()).violations == ()
            async with lanes.pool.connection() as conn:
                cursor = await conn.execute(
                    "select sum(size)::int from chunks where job_id = %s and status = 'ready'",
                    (held,),
                )
                assert await cursor.fetchone() == (180,)

    asyncio.run(story())


def test_a_project_at_its_limits_gives_back_its_own_and_nothing_else(database_url: str) -> None:
    async def story() -> None:
        provider, permits = (
            Provider(lambda _: completion(1)),
            Scarce(project_scope("frugal"), 3600.0),
        )
        async with open_lanes(database_url, provider, permits, workers=1) as lanes:
            yard = lanes.yards[0]
            frugal = {"frugal": Buckets(project_scope("frugal"), 1, None, None)}
            lanes.yards[0] = replace(yard, caller=replace(yard.caller, projects=frugal))
            held = await lanes.kit.job(60, project="frugal", size=20, bound=BOUND)
            free = await lanes.kit.job(600, size=100, bound=BOUND)
            await lanes.run(1)
            assert (await done(lanes, held), await done(lanes, free)) == (0, 600)
            async with lanes.pool.connection() as conn:
                cursor = await conn.execute(
                    "select status, sum(size)::int, min(reason) from chunks"
                    " where job_id = %s and status <> 'done' group by 1",
                    (held,),
                )
                ((status, size, reason),) = await cursor.fetchall()
            assert (status, size) == ("waiting", 60)
            assert reason == Back.LIMITS
            assert (await lanes.audit()).violations == ()

    asyncio.run(story())
