"""How full the limits are: read from the server as it stands, changing nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

PREFIX: Final = "batchyard:{limits}:"
DIMENSIONS: Final = ("requests", "tokens", "input", "output")


@dataclass(frozen=True, slots=True)
class Level:
    """A rate in force a minute, and how many units of it may be used at once; below zero there
    is a debt."""

    rate: float
    left: float


@dataclass(frozen=True, slots=True)
class Usage:
    """One scope that was used within the last hour. `levels` by dimension (requests, tokens,
    input, output), where there is a limit; `most` calls at once, None for no limit; `factor`
    is what 429s have left of the declared limits; `pause` in seconds."""

    key: str
    levels: dict[str, Level]
    in_flight: int
    most: int | None
    factor: float
    pause: float


def state_keys(key: str) -> list[str]:
    """A scope's two keys, its state and its calls in flight; all are in one cluster slot."""
    return [f"{PREFIX}{key}:state", f"{PREFIX}{key}:flying"]


async def read_usage(server: Redis, keys: Sequence[str]) -> list[Usage]:
    """The scopes of these keys that were used lately. Raises redis.exceptions.RedisError."""
    async with server.pipeline(transaction=False) as pipeline:
        pipeline.time()
        for key in keys:
            for name in state_keys(key):
                pipeline.hgetall(name)
        (seconds, micros), *found = await pipeline.execute()
    now = seconds * 1000 + micros / 1000
    pairs = zip(keys, found[::2], found[1::2], strict=True)
    return [_usage(key, _numbers(state), flying, now) for key, state, flying in pairs if state]


def _numbers(state: dict[bytes, bytes]) -> dict[str, float]:
    return {name.decode(): float(value) for name, value in state.items()}


def _usage(key: str, state: dict[str, float], flying: dict[bytes, bytes], now: float) -> Usage:
    until = max(state.get("pause", 0.0), state.get("doubt", 0.0))
    idle = max(0.0, now - max(state.get("at", now), until)) / 60_000
    levels = {
        name: Level(rate, min(rate / 60, state.get(name, 0.0) + rate * idle))
        for name in DIMENSIONS
        if (rate := state.get(f"{name}_rate", 0.0)) > 0
    }
    return Usage(
        key=key,
        levels=levels,
        in_flight=sum(int(calls) for calls in flying.values()),
        most=int(state.get("most", 0)) or None,
        factor=state.get("factor", 1.0),
        pause=max(0.0, (until - now) / 1000),
    )
