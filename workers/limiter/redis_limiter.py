"""The limiter on Redis or Valkey: one script call per window of calls.

Ended calls and unused tokens are gathered here and travel with the next script call, or on
their own after `LINGER` seconds. While the server is away nobody gets leave: it is the
supervisor's or the operator's next restart away, and calls without limits cost money.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.ports import Buckets, Grant, Return

log = structlog.get_logger()

BURST_SECONDS = 1.0
HOLDER_EXPIRY = 30.0
LINGER = 0.05
AWAY = 0.5


class RedisLimiter:
    """Implements `core.ports.Limiter`. `holder` names this process among those in flight; its
    calls stop counting when it has not been heard of for `expiry` seconds."""

    def __init__(self, url: str, holder: str, *, expiry: float = HOLDER_EXPIRY) -> None:
        self._redis = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        self._script = self._redis.register_script(_script("limiter"))
        self._pause_script = self._redis.register_script(_script("pause"))
        self._holder = holder
        self._expiry_ms = int(expiry * 1000)
        self._ended: dict[str, int] = defaultdict(int)
        self._tokens: dict[str, int] = defaultdict(int)
        self._buckets: dict[str, Buckets] = {}
        self._lingering: asyncio.Task[None] | None = None
        self._paused: dict[str, float] = {}

    async def acquire(self, buckets: Buckets, tokens: Sequence[int]) -> Grant:
        paused = self._paused.get(buckets.key, 0.0) - time.monotonic()
        if tokens and paused > 0:
            return Grant(0, paused)
        key = buckets.key
        self._buckets[key] = buckets
        ended, spare = self._ended.pop(key, 0), self._tokens.pop(key, 0)
        args: tuple[int | float | str, ...] = (
            buckets.rpm or 0,
            buckets.tpm or 0,
            buckets.in_flight or 0,
            BURST_SECONDS,
            self._holder,
            self._expiry_ms,
            ended,
            spare,
            *tokens,
        )
        try:
            granted, wait, full = await self._script(keys=_keys(key), args=args)
        except RedisError as error:
            self._ended[key] += ended
            self._tokens[key] += spare
            log.warning("limiter away", reason=type(error).__name__)
            return Grant(0, AWAY)
        return Grant(granted, wait / 1000, bool(full))

    async def give_back(self, buckets: Buckets, back: Return) -> None:
        self._buckets[buckets.key] = buckets
        self._ended[buckets.key] += back.calls
        self._tokens[buckets.key] += back.tokens
        if self._lingering is None or self._lingering.done():
            self._lingering = asyncio.create_task(self._linger())

    async def _linger(self) -> None:
        await asyncio.sleep(LINGER)
        for key in [key for key, ended in self._ended.items() if ended]:
            await self.acquire(self._buckets[key], ())

    async def touch(self) -> None:
        """Says that this process lives, so that its calls in flight keep counting."""
        for buckets in [b for b in self._buckets.values() if b.in_flight]:
            await self.acquire(buckets, ())

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
