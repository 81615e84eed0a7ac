"""A request, an answer or a part that is broken, among others that are not."""

import asyncio
from typing import Any

import pytest

from core.ports import HttpReply
from tests.faults.lanes import BOUND, Lanes, Permits, Provider, completion, open_lanes

RAISES, ODD_REPLY, ABSURD = 7, 11, 13


def poisoned(number: int) -> HttpReply:
    """Three requests that this provider's answers make hard to deal with."""
    if number == RAISES:
        raise ValueError("nobody expects this")
    if number == ODD_REPLY:
        nothing: Any = None
        return HttpReply(200, nothing, nothing)
    return completion(10**15 if number == ABSURD else 10)


async def healthy(lanes: Lanes, provider: Provider) -> None:
    """The same workers do another job without a hitch."""
    provider.answer = lambda _: completion(10)
    job = await lanes.kit.job(500, bound=BOUND)
    before = provider.calls
    assert await lanes.finish(job, lanes=4) == "completed"
    assert provider.calls == before + 500
    assert (await lanes.audit()).violations == ()


@pytest.mark.timeout(300)
def test_a_poisoned_request_fails_alone(database_url: str) -> None:
    async def run() -> None:
        provider = Provider(poisoned)
        async with open_lanes(database_url, provider, Permits(), workers=2) as lanes:
            job = await lanes.kit.job(300, size=100, bound=BOUND)
            assert await lanes.finish(job, lanes=4) == "completed"
            results = await lanes.results(job)
            assert results["failed"] == [RAISES, ODD_REPLY]
            assert len(results["completed"]) == 298
            assert (await lanes.account(job))[1] == 0
            await healthy(lanes, provider)

    asyncio.run(run())


@pytest.mark.timeout(300)
def test_a_lane_that_breaks_down_leaves_its_work_to_others(database_url: str) -> None:
    async def run() -> None:
        provider, permits = Provider(lambda _: completion(10)), Permits()
        async with open_lanes(database_url, provider, permits, workers=2) as lanes:
            permits.breaks = 3
            job = await lanes.kit.job(1000, size=100, bound=BOUND)
            assert await lanes.finish(job, lanes=4) == "completed"
            assert permits.breaks == 0
            assert len((await lanes.results(job))["completed"]) == 1000
            await healthy(lanes, provider)

    asyncio.run(run())
