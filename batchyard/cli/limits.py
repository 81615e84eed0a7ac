"""How full the limits are, for `batchyard ps`."""

import asyncio
import os
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from batchyard.cli.places import limiter_url
from batchyard.cli.show import plain
from batchyard.embedded.home import Home
from core.settings import Settings
from workers.limiter.usage import Usage, read_usage

PATIENCE = 2.0
COLUMNS = {
    "LIMITS OF": "scope",
    ">IN FLIGHT": "calls",
    ">REQ/MIN": "requests",
    ">TOK/MIN": "tokens",
    ">IN TOK/MIN": "input",
    ">OUT TOK/MIN": "output",
    ">OF DECLARED": "factor",
    ">PAUSED": "pause",
}


def limits_in_use(home: Home, settings: Settings) -> list[dict[str, Any]]:
    """The scopes that were used within the last hour; none where the server is not there."""
    url = limiter_url(home, os.environ)
    return [] if url is None else [_told(one) for one in asyncio.run(_read(url, settings))]


async def _read(url: str, settings: Settings) -> list[Usage]:
    server = Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
    async with server:
        try:
            return await read_usage(server, settings.scopes())
        except RedisError:
            return []


def _told(one: Usage) -> dict[str, Any]:
    return {
        "scope": one.key,
        "in_flight": one.in_flight,
        "most_in_flight": one.most,
        "rates": {
            name: {"per_minute": round(level.rate), "left": round(level.left, 1)}
            for name, level in one.levels.items()
        },
        "factor": round(one.factor, 3),
        "pause_s": round(one.pause, 1),
    }


def as_row(told: dict[str, Any]) -> dict[str, str]:
    """One scope's cells: rates in force, with what is left of a second's worth."""
    most, rates = told["most_in_flight"], told["rates"]
    cells = {name: _rate(rates.get(name)) for name in ("requests", "tokens", "input", "output")}
    return {
        "scope": told["scope"],
        "calls": f"{told['in_flight']} of {most}" if most else str(told["in_flight"]),
        **cells,
        "factor": f"{told['factor']:.0%}",
        "pause": f"{told['pause_s']:g} s" if told["pause_s"] else "-",
    }


def _rate(rate: dict[str, float] | None) -> str:
    if rate is None:
        return "-"
    held = max(1.0, rate["per_minute"] / 60)
    return f"{plain(rate['per_minute'])}, {rate['left'] / held:.0%} left"
