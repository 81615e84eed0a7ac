"""What processes grant while the limiter's server is away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from core.ports import Ask, Buckets, Return
from tests.workers.limiter.kit import calls, limits, new_key, take
from workers.limiter.books import Book, Word
from workers.limiter.local_share import LocalShare
from workers.limiter.redis_limiter import HOLDERS, RedisLimiter


class Door:
    """Between limiters and their server; can be shut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._rest = url.split("@", maxsplit=1)[0] + "@" if "@" in url else "redis://"
        self._path = parts.path
        self.is_open = True
        self.url = ""

    async def serve(self) -> asyncio.Server:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{self._rest}127.0.0.1:{listener.getsockname()[1]}{self._path}"
        return await asyncio.start_server(self._pass, sock=listener)

    def shut(self) -> None:
        self.is_open = False
        for writer in self._writers:
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.close()
            return
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def behind_a_door(url: str, count: int) -> AsyncIterator[tuple[Door, list[RedisLimiter]]]:
    async with Redis.from_url(url) as redis:
        # The processes of other tests.
        await redis.delete(HOLDERS)
    door = Door(url)
    server = await door.serve()
    limiters = [RedisLimiter(door.url, holder=new_key()) for _ in range(count)]
    try:
        yield door, limiters
    finally:
        for limiter in limiters:
            await limiter.close()
        server.close()


async def alone(limiter: RedisLimiter, limit: Buckets) -> None:
    """Until the process has noticed that the server is away."""
    while not limiter.alone:
        await limiter.acquire([limit], calls(1))


def test_processes_go_on_with_their_share_and_return_to_the_shared_limit(broker_url: str) -> None:
    limit = limits(rpm=6000, in_flight=1000)

    async def run() -> None:
        async with behind_a_door(broker_url, 2) as (door, both):
            one, two = both
            for limiter in both:
                await limiter.acquire([limit], calls(1))
            # The first one was alone when it asked, and hears of the other with its
            # next sign of life.
            await one.touch()
            door.shut()
            # A last answer of the server may be on its way.
            await asyncio.gather(*(alone(limiter, limit) for limiter in both))
            # Half of a hundred a second for each of the two, from empty buckets.
            for granted, seconds in await asyncio.gather(*(take(lim, 60, limit) for lim in both)):
                assert granted <= 50 * seconds + 5
            door.is_open = True
            while one.alone or two.alone:
                await asyncio.sleep(0.05)
            # A hundred a second for the two together, and no more than a bucket before.
            got = await asyncio.gather(*(take(lim, 100, limit) for lim in both))
            assert sum(granted for granted, _ in got) <= 100 * max(s for _, s in got) + 110
            fresh = RedisLimiter(broker_url, holder=new_key())
            grant = await fresh.acquire([limit], calls(999))
            assert grant.granted < 150
            await fresh.close()

    asyncio.run(run())


async def acquaint(one: RedisLimiter, two: RedisLimiter, limit: Buckets) -> None:
    """Each has heard of the other: the first one was alone when it asked, and asks again."""
    for limiter in (one, two, one):
        await limiter.acquire([limit], calls(1))
        limiter.give_back([limit], Return(1))


def test_calls_at_once_are_shared_out_too(broker_url: str) -> None:
    limit = limits(in_flight=11)

    async def run() -> None:
        async with behind_a_door(broker_url, 2) as (door, (one, two)):
            await acquaint(one, two, limit)
            door.shut()
            grants = [await limiter.acquire([limit], calls(20)) for limiter in (one, two)]
            assert [grant.granted for grant in grants] == [5, 5]

    asyncio.run(run())


def test_calls_in_flight_of_others_count_when_the_server_is_back(broker_url: str) -> None:
    limit = limits(in_flight=11)

    async def run() -> None:
        async with behind_a_door(broker_url, 2) as (door, (one, two)):
            await acquaint(one, two, limit)
            door.shut()
            held = [(await limiter.acquire([limit], calls(20))).granted for limiter in (one, two)]
            door.is_open = True
            while one.alone and two.alone:
                await asyncio.sleep(0.01)
            early, late = (one, two) if two.alone else (two, one)
            more = (await early.acquire([limit], calls(20))).granted
            more += (await late.acquire([limit], calls(20))).granted
            assert sum(held) + more <= 11

    asyncio.run(run())


def test_who_never_saw_the_limits_waits_for_the_server() -> None:
    async def run() -> None:
        limiter = RedisLimiter("redis://127.0.0.1:1/0", holder="1")
        grant = await limiter.acquire([limits(rpm=60)], calls(1))
        assert grant.granted == 0
        assert grant.wait > 0
        await limiter.close()

    asyncio.run(run())


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 5),
    st.integers(0, 60_000),
    st.integers(0, 600_000),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3000), st.integers(0, 4)), max_size=60),
)
def test_shares_never_add_up_to_more_than_the_limits(
    holders: int, rpm: int, tpm: int, steps: list[tuple[float, int, int]]
) -> None:
    """Whatever is asked when and by whom: in sum at most the rate, a bucket of it, and one large
    call's debt for each."""
    shares = []
    for _ in range(holders):
        book = Book(Buckets("d", rpm or None, tpm or None), adapts=True)
        shares.append(LocalShare(book, Word(0, (rpm, tpm, 0, 0), holders), now=0.0))
    now, requests, tokens = 0.0, 0, 0
    for passed, size, who in steps:
        now += passed
        share = shares[who % holders]
        share.refill(now)
        needs = (1, size, size, 0)
        for _ in range(50):
            if share.wait(needs) > 0:
                break
            share.take(needs)
            requests, tokens = requests + 1, tokens + size
    if rpm:
        assert requests <= rpm / 60 * now + max(rpm / 60, holders) + 1e-6
    if tpm:
        assert tokens <= tpm / 60 * (now + 1) + 3000 * holders + 1e-6


def test_a_used_share_is_missing_in_the_shared_bucket_afterwards() -> None:
    book = Book(Buckets("d", 6000), adapts=True)
    share = LocalShare(book, Word(0, (6000, 0, 0, 0), 2), now=0.0)
    share.refill(10.0)
    for _ in range(30):
        share.take((1, 10, 10, 0))
    share.settle()
    assert book.back_requests == -30


def test_asks_are_counted_in_all_dimensions() -> None:
    book = Book(Buckets("d", None, None, None, 600, 600), adapts=True)
    share = LocalShare(book, Word(0, (0, 0, 600, 600), 1), now=0.0)
    share.refill(1.0)
    ask = Ask(2, 3)
    assert share.wait((1, 5, ask.input, ask.output)) == 0
    share.take((1, 50, 20, 30))
    assert share.wait((1, 5, 2, 3)) > 2
