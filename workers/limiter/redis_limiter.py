"""The limiter on Redis or Valkey: one script call per window of calls.

Ended calls and unused tokens are gathered here and travel with the next script call, or on
their own after `LINGER` seconds. While the server is away nobody gets leave: it is the
supervisor's or the operator's next restart away, and calls without limits cost money.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.ports import Buckets, Grant, Return

log = structlog.get_logger()

BURST_SECONDS = 1.0
HOLDER_EXPIRY = 30.0
LINGER = 0.05
FULL_WAIT = 0.05
AWAY = 0.5


@dataclass(slots=True)
class _Books:
    """What this process knows of one deployment: its calls in flight, tokens to put back, and
    whether the server has not been told yet."""

    buckets: Buckets
    flying: int = 0
    back: int = 0
    changed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RedisLimiter:
    """Implements `core.ports.Limiter`. `holder` names this process among those in flight; its
    calls stop counting when it has not been heard of for `expiry` seconds."""

    def __init__(self, url: str, holder: str, *, expiry: float = HOLDER_EXPIRY) -> None:
        # No retries: a script that ran and whose answer was lost must not run twice.
        self._redis = Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        self._script = self._redis.register_script(_script("limiter"))
        self._pause_script = self._redis.register_script(_script("pause"))
        self._holder = holder
        self._expiry_ms = int(expiry * 1000)
        self._books: dict[str, _Books] = {}
        self._lingering: asyncio.Task[None] | None = None
        self._paused: dict[str, float] = {}

    async def acquire(self, buckets: Buckets, tokens: Sequence[int]) -> Grant:
        paused = self._paused.get(buckets.key, 0.0) - time.monotonic()
        if tokens and paused > 0:
            return Grant(0, paused)
        books = self._books.setdefault(buckets.key, _Books(buckets))
        # One question at a time: the next one must count what this one is granted.
        async with books.lock:
            room = len(tokens)
            if buckets.in_flight:
                room = min(room, buckets.in_flight - books.flying)
            if tokens and room <= 0:
                # Full by our own calls alone: there is nothing to ask.
                return Grant(0, FULL_WAIT, full=True)
            grant = await self._ask(buckets, books, tokens[:room])
        if grant.granted == room < len(tokens):
            return Grant(room, FULL_WAIT, full=True)
        return grant

    async def _ask(self, buckets: Buckets, books: _Books, tokens: Sequence[int]) -> Grant:
        back, books.back, books.changed = books.back, 0, False
        args: tuple[int | float | str, ...] = (
            buckets.rpm or 0,
            buckets.tpm or 0,
            buckets.in_flight or 0,
            BURST_SECONDS,
            self._holder,
            self._expiry_ms,
            books.flying,
            back,
            *tokens,
        )
        try:
            granted, wait, full = await self._script(keys=_keys(buckets.key), args=args)
        except RedisError as error:
            books.back += back
            books.changed = True
            log.warning("limiter away", reason=type(error).__name__)
            return Grant(0, AWAY)
        books.flying += granted
        return Grant(granted, wait / 1000, bool(full))

    async def give_back(self, buckets: Buckets, back: Return) -> None:
        books = self._books.setdefault(buckets.key, _Books(buckets))
        books.flying = max(0, books.flying - back.calls)
        books.back += back.tokens
        books.changed = True
        if self._lingering is None or self._lingering.done():
            self._lingering = asyncio.create_task(self._linger())

    async def _linger(self) -> None:
        while changed := [books for books in self._books.values() if books.changed]:
            await asyncio.sleep(LINGER)
            for books in changed:
                if books.changed:
                    await self.acquire(books.buckets, ())

    async def touch(self) -> None:
        """Says that this process lives, so that its calls in flight keep counting."""
        for books in [books for books in self._books.values() if books.buckets.in_flight]:
            await self.acquire(books.buckets, ())

    async def pause(self, key: str, seconds: float) -> None:
        """Nobody calls the deployment for this long; a longer pause is never cut short."""
        until = time.monotonic() + seconds
        self._paused[key] = max(until, self._paused.get(key, 0.0))
        try:
            await self._pause_script(keys=_keys(key)[1:2], args=(int(seconds * 1000) + 1,))
        except RedisError as error:
            log.warning("pause not shared", deployment=key, reason=type(error).__name__)

    async def close(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        await self._redis.aclose()


def _script(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")


def _keys(key: str) -> list[str]:
    """The four keys of a deployment, in one cluster slot."""
    base = f"batchyard:{{{key}}}"
    return [f"{base}:state", f"{base}:pause", f"{base}:flying", f"{base}:holders"]
