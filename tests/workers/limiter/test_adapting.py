"""Limits that nobody declared, or declared too high, are found by their 429s: a provider in
memory that enforces its own limit, called as lanes call."""

import asyncio
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from core.ports import Ask, Buckets, Return
from tests.workers.limiter.kit import calls, limits, with_limiters
from workers.limiter.redis_limiter import RedisLimiter
from workers.limiter.usage import PREFIX

LATENCY = 0.05


@dataclass
class Provider:
    """Grants `rate` calls a second with half a second of burst, or `most` calls at once."""

    rate: float = 1e9
    most: int = 10**9
    open: int = 0
    level: float = 0.0
    at: float = 0.0
    seen: list[tuple[float, bool]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    latency: float = LATENCY

    def admit(self, now: float) -> bool:
        self.level = min(self.rate / 2, self.level + (now - self.at) * self.rate)
        self.at = now
        granted = self.level >= 1 and self.open < self.most
        self.seen.append((now, granted))
        if granted:
            self.level -= 1
            self.open += 1
        return granted

    async def call(self, limiter: RedisLimiter, limit: Buckets, epoch: int) -> None:
        loop = asyncio.get_running_loop()
        if not self.admit(loop.time()):
            await limiter.pause(limit.key, 0.02, epoch)
            limiter.give_back([limit], Return(1, input=10))
            return
        seconds = self.seconds()
        await asyncio.sleep(seconds)
        self.open -= 1
        limiter.give_back([limit], Return(1, latency_ms=round(seconds * 1000)))
        self.ended.set()

    def seconds(self) -> float:
        """What an answer takes."""
        return self.latency

    def shares(self, begin: float) -> tuple[float, float]:
        """Answered a second, and the share of 429s, from the time on."""
        late = [granted for at, granted in self.seen if at >= begin]
        end = self.seen[-1][0]
        return sum(late) / (end - begin), 1 - sum(late) / len(late)


@dataclass
class Queueing(Provider):
    """Works on `slots` calls at once; the others wait."""

    slots: int = 16

    def seconds(self) -> float:
        return self.latency * max(1.0, self.open / self.slots)


class Straying(Provider):
    """Refuses each tenth call, whatever is sent."""

    def admit(self, now: float) -> bool:
        granted = len(self.seen) % 10 > 0
        self.seen.append((now, granted))
        self.open += int(granted)
        return granted


async def work(limiter: RedisLimiter, limit: Buckets, provider: Provider, end: float) -> None:
    """Sends as much as it gets leave for."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while loop.time() < end:
            grant = await limiter.acquire([limit], calls(64))
            for _ in range(grant.granted):
                group.create_task(provider.call(limiter, limit, grant.epoch))
            await asyncio.sleep(0.005)
            if grant.full and provider.open:
                provider.ended.clear()
                await provider.ended.wait()
            else:
                await asyncio.sleep(grant.wait)


@pytest.mark.parametrize(
    ("declared", "rate", "most"),
    [(15_600, 200, 10**9), (None, 200, 10**9), (None, 10**9, 20)],
    ids=["declared too high", "undeclared", "undeclared, so many at once"],
)
def test_it_settles_near_what_the_provider_grants(
    broker_url: str, declared: int | None, rate: int, most: int
) -> None:
    limit, provider = limits(rpm=declared), Provider(rate, most)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        loop = asyncio.get_running_loop()
        began = provider.at = loop.time()
        end = began + 9
        await asyncio.gather(*(work(lim, limit, provider, end) for lim in (one, two)))
        answered, throttled = provider.shares(began + 4)
        assert throttled <= 0.05
        assert answered >= 0.6 * min(rate, most / LATENCY)

    with_limiters(broker_url, test)


def test_the_calls_under_way_when_a_429_came_cut_nothing_more(broker_url: str) -> None:
    limit = limits(in_flight=100)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        grant = await one.acquire([limit], calls(100))
        assert grant.granted == 100
        for limiter in (one, two):
            for _ in range(50):
                await limiter.pause(limit.key, 0.01, grant.epoch)
        one.give_back([limit], Return(100))
        await asyncio.sleep(0.7)
        again = await two.acquire([limit], calls(100))
        assert again.granted == 90
        assert again.epoch == grant.epoch + 1

    with_limiters(broker_url, test)


def test_a_429_after_a_calm_takes_little_from_a_window_and_stops_nobody(broker_url: str) -> None:
    limit = limits()

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        async with Redis.from_url(broker_url) as server:
            calm = {"window": 100, "slow": 0, "cut_at": 1, "window_knee": 100}
            await server.hset(f"{PREFIX}{limit.key}:state", mapping=calm)
        epoch = (await one.acquire([limit], calls(1))).epoch
        await two.pause(limit.key, 0.0, epoch)
        assert (await one.acquire([limit], calls(200))).granted == 93
        await two.pause(limit.key, 0.0, epoch + 1)
        soon = await two.acquire([limit], calls(1))
        assert not soon.granted
        assert soon.wait > 0.1

    with_limiters(broker_url, test)


def test_what_the_provider_tells_becomes_a_limit(broker_url: str) -> None:
    limit = limits()
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "590",
        "x-ratelimit-reset-requests": "1s",
    }

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        one.hear(limit.key, headers)
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.3)
        grant = await two.acquire([limit], calls(50))
        assert 5 <= grant.granted <= 10

    with_limiters(broker_url, test)


def test_what_is_written_has_a_limit_of_its_own_where_the_provider_tells_one(
    broker_url: str,
) -> None:
    limit = limits()
    headers = {
        "x-ratelimit-limit-tokens-generated": "6000",
        "x-ratelimit-remaining-tokens-generated": "5900",
    }

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        one.hear(limit.key, headers)
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.3)
        grant = await two.acquire([limit], [Ask(1000, 20)] * 20)
        assert 1 <= grant.granted <= 5

    with_limiters(broker_url, test)


def test_what_the_provider_tells_never_raises_what_was_declared(broker_url: str) -> None:
    limit = limits(rpm=60)
    generous = {"x-ratelimit-limit-requests": "60000", "x-ratelimit-remaining-requests": "60000"}

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        one.hear(limit.key, generous)
        await asyncio.sleep(0.5)
        await one.acquire([limit], calls(1))
        await asyncio.sleep(0.7)
        assert (await one.acquire([limit], calls(50))).granted == 1

    with_limiters(broker_url, test)


def test_less_left_than_believed_lowers_the_bucket(broker_url: str) -> None:
    """Somebody else uses the same key."""
    limit = limits(tpm=600_000)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.2)
        one.hear(limit.key, {"x-ratelimit-remaining-tokens": "500"})
        grant = await one.acquire([limit], [Ask(100)] * 90)
        assert grant.granted == 5

    with_limiters(broker_url, test)


def test_answers_that_became_longer_do_not_hold_the_calls_at_once_for_long(
    broker_url: str,
) -> None:
    limit, provider = limits(), Provider()

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.07, lambda: setattr(provider, "latency", 6 * LATENCY))
        await work(one, limit, provider, loop.time() + 6)
        assert (await state_of(broker_url, limit))["window"] > 200

    with_limiters(broker_url, test)


@pytest.mark.parametrize("slots", [4, 16, 48])
def test_calls_that_would_only_queue_at_the_provider_are_not_sent(
    broker_url: str, slots: int
) -> None:
    """However many it works on at once: these are kept busy, and few wait."""
    limit, provider = limits(), Queueing(slots=slots)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(work(lim, limit, provider, began + 12) for lim in (one, two)))
        answered, _ = provider.shares(began + 6)
        assert answered >= 0.8 * slots / LATENCY
        assert (await state_of(broker_url, limit))["window"] <= 2.5 * slots

    with_limiters(broker_url, test)


def test_calls_at_once_that_no_cut_has_spared_a_429_grow_as_without_any(broker_url: str) -> None:
    limit, provider = limits(), Straying()

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        end = asyncio.get_running_loop().time() + 5
        await asyncio.gather(*(work(lim, limit, provider, end) for lim in (one, two)))
        assert (await state_of(broker_url, limit))["window"] > 64

    with_limiters(broker_url, test)


async def state_of(broker_url: str, limit: Buckets) -> dict[str, float]:
    async with Redis.from_url(broker_url, decode_responses=True) as server:
        found = await server.hgetall(f"{PREFIX}{limit.key}:state")
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("in_flight", [64, None])
def test_429s_that_come_whatever_is_sent_stop_nobody_in_the_end(
    broker_url: str, in_flight: int | None
) -> None:
    """One call of ten is refused, however few there are: when that has been seen, the others are
    not kept waiting for it."""
    limit = limits(in_flight=in_flight)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        held: list[int] = []
        for number in range(40):
            while not (grant := await one.acquire([limit], calls(8))).granted:
                if not grant.full and grant.wait > 0.05:
                    held.append(number)
                await asyncio.sleep(max(grant.wait, 0.01))
            refused = number % 5 == 0 or number % 5 == 2
            for n in range(grant.granted):
                if n == 0 and refused:
                    await one.pause(limit.key, 0.0, grant.epoch)
                    one.give_back([limit], Return(1))
                else:
                    one.give_back([limit], Return(1, latency_ms=20))
        assert held
        assert all(number < 20 for number in held)

    with_limiters(broker_url, test)
