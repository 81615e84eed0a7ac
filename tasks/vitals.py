"""How the deployments fare in this process: means of the recent past, from what the meters
count anyway, written down for dispatch and for people who look; and what held calls back.

A call worker says so every two seconds; rows of dead processes are not read.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from psycopg import OperationalError

from db.brakes import put_brakes
from db.connect import Pool
from db.vitals import Vital, put_vitals
from tasks.brakes import Brakes
from tasks.meters import DeploymentMeters, Meters

log = structlog.get_logger()

EVERY = 2.0
RATE_SECONDS = 10.0
"""How far back the rate of calls looks."""
LEAST_RATE = 0.001
"""Calls a second below which a rate has ebbed away: a mean alone never gets there, and becomes
smaller than a `real` can hold within a quarter of an hour."""
MEMORY_CALLS = 32
"""How many answers make up a mean, roughly."""
FORGET_AFTER = 60.0
"""Seconds without an answer after which nobody knows how fast a deployment is."""
THROTTLED = "throttled"


@dataclass(slots=True)
class _Mean:
    """An exponentially weighted mean of what a histogram counts."""

    value: float | None = None
    _count: int = 0
    _sum: float = 0.0

    def follow(self, count: int, total: float) -> bool:
        """Takes in what has come since the last time; whether there was anything."""
        news, sum_ = count - self._count, total - self._sum
        if news <= 0:
            return False
        self._count, self._sum = count, total
        mean = sum_ / news
        before = mean if self.value is None else self.value
        self.value = before + (mean - before) * (1 - math.exp(-news / MEMORY_CALLS))
        return True


@dataclass(slots=True)
class _Pulse:
    """One deployment's means, and when it last answered."""

    latency: _Mean
    output: _Mean
    rate: float = 0.0
    calls: int = 0
    answered_at: float = 0.0

    def follow(self, meters: DeploymentMeters, now: float, seconds: float) -> None:
        if self.latency.follow(sum(meters.latency.counts), meters.latency.sum):
            self.answered_at = now
        elif now - self.answered_at > FORGET_AFTER:
            self.latency.value = None
        self.output.follow(sum(meters.output_tokens.counts), meters.output_tokens.sum)
        calls = sum(meters.latency.counts) + _failed(meters)
        weight = 1 - math.exp(-seconds / RATE_SECONDS)
        rate = self.rate + ((calls - self.calls) / seconds - self.rate) * weight
        self.rate = rate if rate >= LEAST_RATE else 0.0
        self.calls = calls


def _failed(meters: DeploymentMeters) -> int:
    """Calls that failed; those that were only told to come later are none."""
    return sum(count for (_, leaf), count in meters.failed.items() if leaf != THROTTLED)


class Vitals:
    """Follows the meters of one process. `clock` is in seconds."""

    def __init__(self, meters: Meters, now: float) -> None:
        self._meters = meters
        self._pulses: dict[str, _Pulse] = {}
        self._last = now

    def read(self, now: float) -> list[Vital]:
        """What there is to say now; of deployments that are idle for long, nothing new."""
        seconds, self._last = max(now - self._last, 0.001), now
        return [
            self._vital(name, meters, now, seconds)
            for name, meters in list(self._meters.deployments.items())
        ]

    def _vital(self, name: str, meters: DeploymentMeters, now: float, seconds: float) -> Vital:
        pulse = self._pulses.get(name)
        if pulse is None:
            pulse = self._pulses[name] = _Pulse(_Mean(), _Mean(), answered_at=now)
        pulse.follow(meters, now, seconds)
        return Vital(
            deployment=name,
            in_flight=self._meters.flying[name],
            answered=sum(meters.latency.counts),
            failed=_failed(meters),
            latency_ms=pulse.latency.value,
            output_tokens=pulse.output.value,
            rate=pulse.rate,
        )


async def keep_vitals(pool: Pool, process_id: int, meters: Meters) -> None:
    """Writes them down for as long as the process lives."""
    began = time.monotonic()
    vitals, brakes = Vitals(meters, began), Brakes(meters, began)
    written: Mapping[str, Vital] = {}
    while True:
        await asyncio.sleep(EVERY)
        read = {one.deployment: one for one in vitals.read(time.monotonic())}
        changed = [one for name, one in read.items() if not _alike(one, written.get(name))]
        braked = brakes.read(time.monotonic(), EVERY)
        if not (changed or braked):
            continue
        try:
            async with pool.connection() as conn:
                if changed:
                    await put_vitals(conn, process_id, changed)
                if braked:
                    await put_brakes(conn, process_id, braked)
        except OperationalError as error:
            log.warning("vitals not written", reason=type(error).__name__)
        else:
            written = read


def _alike(one: Vital, before: Vital | None) -> bool:
    """Whether there is nothing new to say: an idle process need not write."""
    return before is not None and one.rate < 0.01 and one == before._replace(rate=one.rate)
