"""The shared limiter on a real Redis-protocol server."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable

import pytest

from core.ports import Buckets, Return
from workers.limiter.redis_limiter import RedisLimiter

numbers = itertools.count(1)


def buckets(rpm: int | None = None, tpm: int | None = None, fly: int | None = None) -> Buckets:
    """Buckets of a deployment that no other test has."""
    return Buckets(f"d{os.getpid()}-{next(numbers)}", rpm, tpm, fly)


def with_limiters(url: str, test: Callable[[RedisLimiter, RedisLimiter], Awaitable[None]]) -> None:
    """Runs the test with the limiters of two processes."""

    async def run() -> None:
        one, two = RedisLimiter(url, holder="1"), RedisLimiter(url, holder="2")
        try:
            await test(one, two)
        finally:
            await one.close()
            await two.close()

    asyncio.run(run())


async def collect(limiter: RedisLimiter, of: Buckets, calls: int, seconds: float) -> int:
    """How many calls get leave within the time, asked for as a lane asks."""
    loop = asyncio.get_running_loop()
    end, granted = loop.time() + seconds, 0
    while granted < calls and loop.time() < end:
        grant = await limiter.acquire(of, [10] * min(64, calls - granted))
        granted += grant.granted
        await asyncio.sleep(min(grant.wait, max(0.0, end - loop.time())))
    return granted


def test_two_processes_share_one_rate(broker_url: str) -> None:
    limit = buckets(rpm=6000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire(limit, [1])
        got = await asyncio.gather(collect(one, limit, 9999, 2.0), collect(two, limit, 9999, 2.0))
        # 100 a second for two seconds, and no more than the bucket of one second besides.
        assert 150 <= sum(got) <= 310

    with_limiters(broker_url, test)


def test_tokens_are_counted_and_true_use_puts_the_bucket_into_debt(broker_url: str) -> None:
    limit = buckets(tpm=60_000)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire(limit, [1])
        await asyncio.sleep(0.3)
        grant = await one.acquire(limit, [100] * 20)
        assert 1 <= grant.granted <= 6
        await one.give_back(limit, Return(grant.granted, -5000))
        await asyncio.sleep(0.1)
        after = await one.acquire(limit, [100])
        assert after.granted == 0
        assert after.wait > 3

    with_limiters(broker_url, test)


def test_a_call_larger_than_the_bucket_goes_when_the_bucket_is_full(broker_url: str) -> None:
    limit = buckets(tpm=60_000)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire(limit, [1])
        await asyncio.sleep(1.2)
        assert (await one.acquire(limit, [50_000])).granted == 1
        assert (await one.acquire(limit, [1])).granted == 0

    with_limiters(broker_url, test)


def test_calls_in_flight_are_counted_over_processes_until_they_end(broker_url: str) -> None:
    limit = buckets(fly=10)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        assert (await one.acquire(limit, [1] * 8)).granted == 8
        grant = await two.acquire(limit, [1] * 8)
        assert (grant.granted, grant.full) == (2, True)
        await one.give_back(limit, Return(8, 0))
        await asyncio.sleep(0.2)
        assert (await two.acquire(limit, [1] * 20)).granted == 8

    with_limiters(broker_url, test)


def test_all_or_nothing_over_the_buckets(broker_url: str) -> None:
    """A call that has no room in one bucket takes nothing from the others."""
    limit = buckets(rpm=60_000, tpm=60)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire(limit, [1])
        await asyncio.sleep(1.1)
        assert (await one.acquire(limit, [1] * 50)).granted == 1
        wide = Buckets(limit.key, limit.rpm, None, None)
        assert (await one.acquire(wide, [1] * 900)).granted >= 890

    with_limiters(broker_url, test)


def test_a_pause_holds_for_everyone_and_is_never_cut_short(broker_url: str) -> None:
    limit = buckets(rpm=60_000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.pause(limit.key, 30)
        await two.pause(limit.key, 1)
        for limiter in (one, two):
            assert (await limiter.acquire(limit, [1])).granted == 0
        fresh = RedisLimiter(broker_url, holder="4")
        assert (await fresh.acquire(limit, [1])).wait > 20
        await fresh.close()

    with_limiters(broker_url, test)


def test_a_flushed_limiter_starts_with_empty_buckets(broker_url: str) -> None:
    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        assert (await one.acquire(buckets(rpm=60), [1])).granted == 0

    with_limiters(broker_url, test)


def test_an_unreachable_server_grants_nothing_and_says_when_to_ask_again() -> None:
    async def run() -> None:
        limiter = RedisLimiter("redis://127.0.0.1:1/0", holder="1")
        grant = await limiter.acquire(buckets(rpm=60), [1])
        assert grant.granted == 0
        assert grant.wait > 0
        await limiter.close()

    asyncio.run(run())


@pytest.mark.parametrize("calls", [1, 64, 500])
def test_without_limits_everything_is_granted(broker_url: str, calls: int) -> None:
    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        assert (await one.acquire(buckets(), [1] * calls)).granted == calls

    with_limiters(broker_url, test)
