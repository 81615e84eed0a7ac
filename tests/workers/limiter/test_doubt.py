"""A 429 that other calls contradict is a stray one; one that they do not is everyone's."""

import asyncio

from core.ports import Return
from tests.workers.limiter.kit import calls, limits, with_limiters
from workers.limiter.doubt import ENOUGH, IN_A_ROW, Doubt
from workers.limiter.redis_limiter import RedisLimiter


def test_the_first_429_is_everyones_and_so_are_all_that_nothing_contradicts() -> None:
    doubt = Doubt()
    assert all(doubt.refused(n, n + 0.5, 1.0) for n in range(50))


def test_answers_to_calls_that_were_sent_later_contradict_a_pause() -> None:
    doubt = Doubt()
    assert doubt.refused(1.0, 1.1, 30.0)
    assert not any(doubt.answered(0.9, 1.2) for _ in range(100))
    assert [doubt.answered(1.05, 1.2) for _ in range(ENOUGH)] == [False] * (ENOUGH - 1) + [True]
    assert not doubt.refused(1.3, 1.3, 30.0)


def test_a_pause_that_was_waited_for_is_not_contradicted_by_what_comes_after_it() -> None:
    doubt = Doubt()
    assert doubt.refused(1.0, 1.1, 2.0)
    assert not any(doubt.answered(3.2, 3.3) for _ in range(100))
    assert doubt.refused(3.4, 3.4, 2.0)


def test_a_limit_that_is_reached_ends_the_belief_in_strays() -> None:
    doubt = Doubt()
    doubt.believe(0.0)
    told = [doubt.refused(0.1, 0.1, 30.0) for _ in range(IN_A_ROW)]
    assert told == [False] * (IN_A_ROW - 1) + [True]


def test_a_contradicted_pause_ends_for_all_processes_and_no_other_does(broker_url: str) -> None:
    limit = limits(in_flight=100)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        epoch = (await one.acquire([limit], calls(40))).epoch
        began = asyncio.get_running_loop().time() - 0.2
        await one.pause(limit.key, 30, epoch, began)
        assert (await two.acquire([limit], calls(1))).granted == 0
        for _ in range(ENOUGH):
            one.give_back([limit], Return(1, latency_ms=50))
        await asyncio.sleep(0.7)
        for limiter in (one, two):
            assert (await limiter.acquire([limit], calls(1))).granted == 1
        await two.pause(limit.key, 30)
        for _ in range(ENOUGH):
            one.give_back([limit], Return(1, latency_ms=50))
        await asyncio.sleep(0.3)
        assert (await one.acquire([limit], calls(1))).granted == 0

    with_limiters(broker_url, test)
