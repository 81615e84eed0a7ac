"""A 429 that other calls contradict is a stray one; one that they do not is everyone's."""

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from core.ports import Buckets, Return
from tests.workers.limiter.kit import calls, limits, with_limiters
from workers.limiter.doubt import ENOUGH, IN_A_ROW, Doubt, Refusal
from workers.limiter.redis_limiter import RedisLimiter
from workers.limiter.usage import PREFIX

PROBES = 3


def test_the_first_429_is_everyones_and_so_are_all_that_nothing_contradicts() -> None:
    doubt = Doubt()
    assert {doubt.refused(n, n + 0.5, 1.0) for n in range(50)} == {Refusal.DOUBT}


def test_answers_to_calls_that_were_sent_later_contradict_a_pause() -> None:
    doubt = Doubt()
    assert doubt.refused(1.0, 1.1, 30.0) is Refusal.DOUBT
    assert not any(doubt.answered(0.9, 1.2) for _ in range(100))
    assert [doubt.answered(1.05, 1.2) for _ in range(ENOUGH)] == [False] * (ENOUGH - 1) + [True]
    assert doubt.refused(1.3, 1.3, 30.0) is Refusal.STRAY


def test_the_answer_of_a_probe_is_enough() -> None:
    doubt = Doubt()
    doubt.refused(1.0, 1.1, 30.0)
    doubt.probes(1.4)
    assert doubt.refused(1.4, 1.5, 30.0) is Refusal.DENIED
    doubt.probes(2.0)
    assert not doubt.answered(1.05, 2.1)
    assert doubt.answered(2.0, 2.1)
    assert doubt.refused(2.2, 2.3, 30.0) is Refusal.DOUBT


def test_a_pause_that_was_waited_for_is_not_contradicted_by_what_comes_after_it() -> None:
    doubt = Doubt()
    doubt.refused(1.0, 1.1, 2.0)
    assert not any(doubt.answered(3.2, 3.3) for _ in range(100))
    assert doubt.refused(3.4, 3.4, 2.0) is Refusal.DOUBT


def test_a_limit_that_is_reached_ends_the_belief_in_strays() -> None:
    doubt = Doubt()
    doubt.believe(0.0)
    told = [doubt.refused(0.1, 0.1, 30.0) for _ in range(IN_A_ROW)]
    assert told == [Refusal.STRAY] * (IN_A_ROW - 1) + [Refusal.LIMIT]


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
            grant = await limiter.acquire([limit], calls(1))
            assert (grant.granted, grant.probe) == (1, False)
        await two.pause(limit.key, 30)
        for _ in range(ENOUGH):
            one.give_back([limit], Return(1, latency_ms=50))
        await asyncio.sleep(0.3)
        assert (await one.acquire([limit], calls(1))).granted == 0

    with_limiters(broker_url, test)


async def probes_of(limiters: Sequence[RedisLimiter], limit: Buckets) -> RedisLimiter:
    """Asks as lanes do until one may try the pause: who."""
    while True:
        for limiter in limiters:
            if (grant := await limiter.acquire([limit], calls(8))).granted:
                assert (grant.granted, grant.probe) == (1, True)
                return limiter
        await asyncio.sleep(0.05)


def answered(limiter: RedisLimiter, limit: Buckets) -> None:
    limiter.give_back([limit], Return(1, latency_ms=0))


def test_one_answered_probe_ends_the_pause_for_everybody_and_the_next_429_makes_none(
    broker_url: str,
) -> None:
    limit = limits(in_flight=100)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        epoch = (await one.acquire([limit], calls(1))).epoch
        await one.pause(limit.key, 3600, epoch)
        assert not (await two.acquire([limit], calls(1))).granted
        prober = await probes_of((one, two), limit)
        answered(prober, limit)
        await asyncio.sleep(0.2)
        for limiter in (one, two):
            assert (await limiter.acquire([limit], calls(8))).granted == 8
            await limiter.pause(limit.key, 3600, epoch + 1)
            assert (await limiter.acquire([limit], calls(8))).granted == 8

    with_limiters(broker_url, test)


def test_a_pause_that_no_probe_contradicts_stands_and_at_its_end_one_call_goes_first(
    broker_url: str,
) -> None:
    limit = limits(in_flight=100)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        epoch = (await one.acquire([limit], calls(1))).epoch
        await one.pause(limit.key, 3600, epoch)
        for _ in range(PROBES):
            prober = await probes_of((one, two), limit)
            await prober.pause(limit.key, 3600, epoch)
        await asyncio.sleep(0.3)
        for limiter in (one, two):
            grant = await limiter.acquire([limit], calls(1))
            assert (grant.granted, grant.wait > 3000) == (0, True)
        async with Redis.from_url(broker_url) as server:
            await server.hset(f"{PREFIX}{limit.key}:state", "doubt", 1)
        three = RedisLimiter(broker_url, holder="three")
        try:
            first = await three.acquire([limit], calls(8))
            assert (first.granted, first.probe) == (1, True)
            assert not (await three.acquire([limit], calls(8))).granted
            answered(three, limit)
            await asyncio.sleep(0.2)
            assert (await three.acquire([limit], calls(8))).granted == 8
            # It was waited for: the next 429 is everybody's again.
            await three.pause(limit.key, 3600, epoch + 1)
            assert not (await three.acquire([limit], calls(8))).granted
        finally:
            await three.close()

    with_limiters(broker_url, test)


def test_the_pause_of_an_overloaded_server_is_tried_as_well_and_cuts_nothing(
    broker_url: str,
) -> None:
    limit = limits(in_flight=100)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        epoch = (await one.acquire([limit], calls(1))).epoch
        await one.pause(limit.key, 3600, began=asyncio.get_running_loop().time())
        assert not (await two.acquire([limit], calls(1))).granted
        answered(await probes_of((one, two), limit), limit)
        await asyncio.sleep(0.2)
        grant = await two.acquire([limit], calls(64))
        assert (grant.granted, grant.epoch) == (64, epoch)

    with_limiters(broker_url, test)


def test_a_call_that_is_held_goes_when_the_pause_ends_early(broker_url: str) -> None:
    limit = limits(in_flight=100)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        epoch = (await one.acquire([limit], calls(1))).epoch
        await one.pause(limit.key, 3600, epoch)
        held = asyncio.create_task(one.hold(limit.key, 3600))
        await one.hold(limit.key, 0.01)
        assert not held.done()
        await one.lift(limit.key)
        await held
        await one.hold("a line that nobody knows", 3600)

    with_limiters(broker_url, test)
