"""Limiters of several processes, on a real Redis-protocol server."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable

from core.ports import Ask, Buckets
from workers.limiter.redis_limiter import RedisLimiter

numbers = itertools.count(1)

Test = Callable[[RedisLimiter, RedisLimiter], Awaitable[None]]


def new_key() -> str:
    """A scope that no other test has."""
    return f"d{os.getpid()}-{next(numbers)}"


def limits(
    rpm: int | None = None, tpm: int | None = None, in_flight: int | None = None, **apart: int
) -> Buckets:
    """Limits of a scope that no other test has."""
    return Buckets(new_key(), rpm, tpm, in_flight, **apart)


def calls(number: int, tokens: int = 10) -> list[Ask]:
    """Equal calls, all tokens input."""
    return [Ask(tokens)] * number


def with_limiters(url: str, test: Test, *, share: float = 0.0) -> None:
    """Runs the test with the limiters of two processes."""

    async def run() -> None:
        one = RedisLimiter(url, holder=new_key(), share=share)
        two = RedisLimiter(url, holder=new_key(), share=share)
        try:
            await test(one, two)
        finally:
            await one.close()
            await two.close()

    asyncio.run(run())


async def take(limiter: RedisLimiter, number: int, *scopes: Buckets) -> tuple[int, float]:
    """Asks as a lane does until it has leave for so many calls of 10 tokens: how many it got,
    and the seconds that it took."""
    loop = asyncio.get_running_loop()
    began, granted = loop.time(), 0
    while granted < number:
        grant = await limiter.acquire(scopes, calls(64))
        granted += grant.granted
        if granted < number:
            await asyncio.sleep(grant.wait)
    return granted, loop.time() - began


async def collect(limiter: RedisLimiter, seconds: float, *scopes: Buckets) -> int:
    """How many calls of 10 tokens get leave within the time, asked for as a lane asks."""
    loop = asyncio.get_running_loop()
    end, granted = loop.time() + seconds, 0
    while loop.time() < end:
        grant = await limiter.acquire(scopes, calls(64))
        granted += grant.granted
        await asyncio.sleep(min(grant.wait, max(0.0, end - loop.time())))
    return granted
