"""The limiter on Redis or Valkey: one script call per window of calls.

Ended calls, unused tokens and what providers say of their limits are gathered here and travel
with the next script call, or on their own after `LINGER` seconds. A process that was told to
wait asks no more until then, however many of its lanes want to. While the server is away the
process goes on with its share (`local_share.py`).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.brake import Brake, Limit
from core.ports import Ask, Buckets, Grant, Return
from workers.limiter.books import CALLS, FIELDS, HEAD, Book, question
from workers.limiter.doubt import Refusal
from workers.limiter.local_share import LocalShare, grant_locally
from workers.limiter.usage import PREFIX, Usage, read_usage, state_keys

log = structlog.get_logger()

HOLDER_EXPIRY = 30.0
LINGER = 0.1
FULL_WAIT = 0.05
AWAY = 0.5
OTHERS = 0.75
"""Seconds within which other processes have seen as well that the server is back."""
LONGEST_DRY = 0.25
SERVER_PATIENCE = 2.0
HOLDERS = f"{PREFIX}holders"
PAUSES = ("pause", "doubt", "probes", "denied", "probe_at")
"""Fields of a scope's state."""


class RedisLimiter:
    """Implements `core.ports.Limiter`. `holder` names this process among those that share the
    limits; its calls stop counting when it has not been heard of for `expiry` seconds. `share`
    of every limit is kept for express calls."""

    def __init__(
        self, url: str, holder: str, *, expiry: float = HOLDER_EXPIRY, share: float = 0.0
    ) -> None:
        # No retries: a script that ran and whose answer was lost must not run twice.
        self._redis = Redis.from_url(
            url,
            socket_timeout=SERVER_PATIENCE,
            socket_connect_timeout=SERVER_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(_script("limiter"))
        self._pause_script = self._redis.register_script(_script("pause"))
        self._lift_script = self._redis.register_script(_script("lift"))
        self._holder = holder
        self._expiry_ms = int(expiry * 1000)
        self._share = share
        self._books: dict[str, Book] = {}
        self._dry: dict[tuple[str, ...], tuple[float, float, Brake | None]] = {}
        self._shares: dict[str, LocalShare] | None = None
        self._lingering: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._lifting: asyncio.Task[None] | None = None

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        """Leave for the longest prefix of the calls; never under a pause that is known here,
        even one that was learnt after the server gave its leave."""
        books = [self._book(scope, adapts=n == 0) for n, scope in enumerate(scopes)]
        line, keys = books[0], tuple(scope.key for scope in scopes)
        paused = Brake(line.buckets.key, Limit.PAUSE)
        if line.pause > 0 and line.wait >= line.pause:
            return Grant(0, line.pause, brake=paused)
        async with AsyncExitStack() as stack:
            # One question at a time: the next one must count what this one is granted.
            for book in sorted(books, key=lambda book: book.buckets.key):
                await stack.enter_async_context(book.lock)
            now = time.monotonic()
            ask_again, ready, brake = self._dry.get(keys, (0.0, 0.0, None))
            if now < ask_again and not express:
                return Grant(0, ready - now, brake=brake)
            room, crammed = _room(books, len(asks))
            if room == 0:
                # Full by our own calls alone: there is nothing to ask.
                return Grant(0, FULL_WAIT, full=True, brake=crammed)
            grant = await self._ask(books, asks[:room], express=express)
            if line.pause > 0 and not grant.granted:
                return Grant(0, line.wait, brake=paused)
            if not grant.full and not express:
                now = time.monotonic()
                ask_again = now + min(grant.wait, LONGEST_DRY)
                self._dry[keys] = (ask_again, now + grant.wait, grant.brake)
        if grant.probe:
            return grant
        if grant.granted and line.pause > 0:
            self._put_back(books, asks[: grant.granted])
            return Grant(0, line.wait, brake=paused)
        if grant.granted == room < len(asks):
            return Grant(room, FULL_WAIT, True, grant.epoch, crammed)
        return grant

    def _book(self, scope: Buckets, *, adapts: bool) -> Book:
        book = self._books.get(scope.key)
        if book is None:
            book = self._books[scope.key] = Book(scope, adapts)
        book.buckets = scope
        return book

    async def _ask(self, books: Sequence[Book], asks: Sequence[Ask], *, express: bool) -> Grant:
        if self._shares is not None:
            return self._grant_locally(books, asks)
        answer = await self._run_script(books, asks, express=express)
        if answer is None:
            return self._grant_locally(books, asks)
        granted, wait, full, _, scope, what, probe = answer[:HEAD]
        for book in books:
            book.flying += granted
        if probe:
            books[0].doubt.probes(time.monotonic())
        brake = books[scope - 1].brake(what) if scope else None
        return Grant(granted, wait / 1000, bool(full), books[0].epoch, brake, bool(probe))

    async def _run_script(
        self, books: Sequence[Book], asks: Sequence[Ask], *, express: bool = False
    ) -> list[int] | None:
        """The script's answer, its word on every scope taken in; None where the server is
        away."""
        said, asked = [book.tell() for book in books], time.monotonic()
        text = question(self._holder, self._expiry_ms, self._share, said, asks, express=express)
        keys = [HOLDERS, *(key for book in books for key in state_keys(book.buckets.key))]
        try:
            answer: list[int] = await self._script(keys=keys, args=[text])
        except RedisError as error:
            for book, one in zip(books, said, strict=True):
                book.untold(one)
            self._go_on_alone(type(error).__name__)
            return None
        for n, book in enumerate(books):
            begins = HEAD + n * FIELDS
            book.learn(answer[begins : begins + FIELDS], holders=answer[3], asked=asked)
        return answer

    def _put_back(self, books: Sequence[Book], asks: Sequence[Ask]) -> None:
        """Permits that nobody used."""
        tokens_in, tokens_out = sum(a.input for a in asks), sum(a.output for a in asks)
        self.give_back(
            [book.buckets for book in books], Return(len(asks), len(asks), tokens_in, tokens_out)
        )

    def give_back(self, scopes: Sequence[Buckets], back: Return) -> None:
        """Told with the next question, or soon."""
        for n, scope in enumerate(scopes):
            book = self._book(scope, adapts=n == 0)
            book.take_back(back)
            if book.contradicts(back):
                self._lifting = asyncio.create_task(self._contradict(book))
        if self._lingering is None or self._lingering.done():
            self._lingering = asyncio.create_task(self._linger())

    async def _linger(self) -> None:
        while changed := [book for book in self._books.values() if book.changed]:
            await asyncio.sleep(LINGER)
            await self._report(changed)

    async def _report(self, books: Sequence[Book]) -> None:
        for book in books:
            async with book.lock:
                if book.changed and self._shares is None:
                    await self._run_script([book], ())

    def hear(self, key: str, headers: Mapping[str, str]) -> None:
        """Only the latest headers are read, and only when something is asked: a reply costs
        nothing here."""
        book = self._books.get(key)
        if book is not None:
            book.heard = headers

    async def touch(self) -> None:
        """Says that this process lives, so that its calls in flight keep counting."""
        for book in self._books.values():
            book.changed = True
        await self._report(list(self._books.values()))

    async def pause(
        self, key: str, seconds: float, epoch: int = -1, began: float | None = None
    ) -> None:
        """Nobody calls the line for this long; a longer pause is never cut short. What adds
        nothing to the last pause is not told again. The pause of a refused call, a 429 or one that
        `began` then, ends when other calls contradict it; one that is taken for a stray makes
        none."""
        book = self._books.setdefault(key, Book(Buckets(key), adapts=True))
        kind, throttled = "pause", epoch >= 0
        if throttled or began is not None:
            now = time.monotonic()
            book.refused += int(throttled)
            kind = book.doubt.refused(now if began is None else began, now, seconds)
            seconds = 0.0 if kind is Refusal.STRAY else seconds
        if kind == Refusal.DENIED:
            # A single call in a pause: it was not too many a minute.
            epoch = -1
        elif seconds <= book.pause and epoch <= book.throttled:
            return
        if kind == "pause":
            book.pause_for(seconds)
        else:
            book.doubt_for(seconds)
        book.throttled = max(book.throttled, epoch)
        try:
            await self._pause_script(
                keys=state_keys(key)[:1], args=(math.ceil(seconds * 1000), epoch, kind)
            )
        except RedisError as error:
            log.warning("pause not shared", deployment=key, reason=type(error).__name__)

    async def lift(self, key: str) -> None:
        """Ends the line's pause, for this process and for those that have not heard of it."""
        book = self._books.get(key)
        if book is not None:
            book.paused_until = 0.0
            book.end_doubt()
        await self._lifted(key, self._redis.hdel(state_keys(key)[0], *PAUSES))

    async def _contradict(self, book: Book) -> None:
        """Ends the pause that a 429 named; one that something else made stands."""
        book.end_doubt()
        key = book.buckets.key
        await self._lifted(key, self._lift_script(keys=state_keys(key)[:1]))

    async def _lifted(self, key: str, told: Awaitable[object]) -> None:
        """Whoever was told to wait may ask again; `told` tells the server."""
        self._dry = {keys: times for keys, times in self._dry.items() if key not in keys}
        try:
            await told
        except RedisError as error:
            log.warning("pause not lifted", deployment=key, reason=type(error).__name__)

    @property
    def alone(self) -> bool:
        """Whether the server is away and this process goes on with its share."""
        return self._shares is not None

    @property
    def books(self) -> Mapping[str, Book]:
        """What this process knows of each scope, for those who watch."""
        return self._books

    def paused(self, key: str) -> float:
        """Seconds for which the line is paused, as far as this process knows."""
        book = self._books.get(key)
        return 0.0 if book is None else book.pause

    async def hold(self, key: str, longest: float) -> None:
        """Waits for the end of the line's pause, `longest` seconds at most."""
        if (book := self._books.get(key)) is not None:
            await book.reopened(longest)

    async def usage(self, keys: Sequence[str]) -> list[Usage]:
        """How full the limits of these scopes are; nothing while the server is away."""
        if self._shares is not None:
            return []
        try:
            return await read_usage(self._redis, keys)
        except RedisError:
            return []

    def _grant_locally(self, books: Sequence[Book], asks: Sequence[Ask]) -> Grant:
        shares = []
        brake = Brake(books[0].buckets.key, Limit.SERVER)
        for book in books:
            if book.word is None or self._shares is None:
                # Never heard of these limits: nobody knows what this process' share is.
                return Grant(0, AWAY, brake=brake)
            key = book.buckets.key
            if key not in self._shares:
                self._shares[key] = LocalShare(book, book.word, time.monotonic())
            shares.append(self._shares[key])
        granted, wait, full = grant_locally(shares, asks)
        return Grant(granted, wait, full, books[0].epoch, brake)

    def _go_on_alone(self, reason: str) -> None:
        if self._shares is None:
            self._shares = {}
            log.warning("limiter away, going on with this process' share", reason=reason)
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Lasts until the server answers; then its buckets are told what was used meanwhile. Its
        calls in flight come first, and the share lasts until others have told theirs: whoever
        asked before would be granted what they hold."""
        while True:
            await asyncio.sleep(AWAY)
            if await self._told_flying():
                break
        await asyncio.sleep(OTHERS)
        shares, self._shares = self._shares or {}, None
        for share in shares.values():
            share.settle()
        log.info("limiter back")

    async def _told_flying(self) -> bool:
        """Whether the server answers, and has heard of all this process' calls in flight."""
        try:
            # Nobody waits for this one.
            await self._redis.time()
        except RedisError:
            return False
        for book in list(self._books.values()):
            async with book.lock:
                if await self._run_script([book], ()) is None:
                    return False
        return True

    async def close(self) -> None:
        """Leaves the processes that share the limits."""
        for task in (self._lingering, self._watching, self._lifting):
            if task is not None:
                task.cancel()
        if self._books and self._shares is None:
            try:
                await self._redis.hdel(HOLDERS, self._holder)
            except RedisError as error:
                log.warning("limiter not told of the end", reason=type(error).__name__)
        await self._redis.aclose()


def _room(books: Sequence[Book], wanted: int) -> tuple[int, Brake | None]:
    """How many calls this process may add at most, and what allows no more."""
    room, brake = wanted, None
    for book in books:
        if (its := book.room) is not None and its < room:
            room, brake = its, book.brake(CALLS)
    return room, brake


def _script(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")
