"""What this process knows of the deployments' health, and what it has to say about it.

The truth is `deployment_state`. A process reads it about twice a second; what its own calls
find out holds here at once and is written down with the next reading. So all workers know of a
closing within a second, and a claim asks nobody.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from psycopg import OperationalError

from core.deployment import Deployment
from core.ports import Buckets
from core.status import Cause, Condition, DeploymentStatus
from db.connect import Connection, Pool
from db.health import conditions, disable, heal, park, trip
from providers.errors import ProviderError
from tasks.breaker import Breaker, Verdict

log = structlog.get_logger()

REFRESH = 0.5
EARLY = 2.0
"""Seconds: a pause that ends by so much too soon was ended by an operator."""
PROBES = 3
"""Calls at once, in the whole yard, to a deployment that is being probed."""
OPEN = Condition()


@dataclass(frozen=True, slots=True)
class _Said:
    """A verdict on these lines that is not written down yet."""

    lines: tuple[str, ...]
    verdict: Verdict


class Pauses(Protocol):
    """Where a line's pause is kept beside its condition: the limiter."""

    async def lift(self, key: str) -> None: ...


class Health:
    """The lines' conditions, and a breaker for each. `closings` counts, by deployment and
    cause, how often this process closed one; `clock` is for tests."""

    def __init__(
        self,
        deployments: Mapping[str, Deployment] | None = None,
        clock: Callable[[], float] = time.monotonic,
        closings: Counter[tuple[str, str]] | None = None,
    ) -> None:
        self.closings = Counter() if closings is None else closings
        self._deployments = deployments or {}
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}
        self._conditions: dict[str, Condition] = {}
        self._since: dict[str, float] = {}
        self._said: list[_Said] = []
        self._resumed: set[str] = set()
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()

    def condition(self, deployment: str) -> Condition:
        """How the deployment stands, as far as this process knows."""
        return self._conditions.get(deployment, OPEN)

    def sends(self, deployment: str) -> bool:
        """Whether calls may be made to it now."""
        return self.condition(deployment).sends

    def probes(self, deployment: str) -> bool:
        """Whether it is being tried with a few calls."""
        return self.condition(deployment).status is DeploymentStatus.PROBING

    def buckets(self, deployment: Deployment) -> Buckets:
        """Its limits; those of one that is being probed let a few calls through."""
        if self.probes(deployment.name):
            return replace(deployment.buckets, in_flight=PROBES)
        return deployment.buckets

    def saw(self, deployment: Deployment, error: ProviderError | None, began: float) -> None:
        """A call that began at `began` has ended, with an answer where `error` is None."""
        name = deployment.name
        breaker = self._breakers.get(name)
        if breaker is None:
            breaker = self._breakers[name] = Breaker(deployment.quota_wait)
        standing = self._conditions.get(name, OPEN)
        if began < self._since.get(name, 0.0):
            # It belongs to the time before the last change.
            return
        if standing.status is DeploymentStatus.PROBING:
            verdict = breaker.probed(error, standing.cause)
        elif standing.sends:
            verdict = breaker.saw(error, self._clock())
        else:
            return
        if verdict is not None:
            self._say(self._meant(deployment, verdict), verdict)

    def lost_key(self, deployment: str, reason: str) -> None:
        """Its key is nowhere to be found: all lines of it are closed until an operator comes."""
        if self.condition(deployment).sends:
            known = self._deployments.get(deployment)
            verdict = Verdict(DeploymentStatus.DISABLED, Cause.KEY, reason, whole_key=True)
            self._say((deployment,) if known is None else self._meant(known, verdict), verdict)

    def park(self, deployment: str, seconds: float, reason: str) -> None:
        """Its next permit is that far away."""
        if self.condition(deployment).sends:
            status = DeploymentStatus.COOLING
            self._say((deployment,), Verdict(status, Cause.LIMITS, reason, seconds))

    async def nap(self, seconds: float) -> None:
        """Sleeps, but not beyond the next closing of a deployment."""
        self._closed.clear()
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return

    async def keep(self, pool: Pool, pauses: Pauses) -> None:
        """Reads and writes `deployment_state` for as long as the process lives. Where an operator
        opens what was to be closed for longer, its pause is lifted, too."""
        while True:
            self._wake.clear()
            try:
                async with pool.connection() as conn:
                    await self.exchange(conn)
            except OperationalError as error:
                log.warning("health not exchanged", reason=type(error).__name__)
                await asyncio.sleep(REFRESH)
                continue
            while self._resumed:
                await pauses.lift(self._resumed.pop())
            try:
                await asyncio.wait_for(self._wake.wait(), REFRESH)
            except TimeoutError:
                continue

    async def exchange(self, conn: Connection) -> None:
        """Writes this process' verdicts down and reads how all stand."""
        while self._said:
            said = self._said[0]
            changed = await _write(conn, said)
            # Only now: should the connection be lost, it is said again.
            self._said.remove(said)
            self._tell(changed, said.verdict)
        self._learn(await conditions(conn))

    def _meant(self, deployment: Deployment, verdict: Verdict) -> tuple[str, ...]:
        if not verdict.whole_key:
            return (deployment.name,)
        mine = (deployment.provider, deployment.api_key)
        return tuple(
            name for name, one in self._deployments.items() if (one.provider, one.api_key) == mine
        ) or (deployment.name,)

    def _say(self, lines: tuple[str, ...], verdict: Verdict) -> None:
        if verdict.cause in (Cause.KEY, Cause.QUOTA):
            verdict = replace(verdict, reason=self._naming_the_key(lines[0], verdict.reason))
        for line in lines:
            drained = self.condition(line).drained
            self._set(
                line,
                Condition(verdict.status, verdict.cause, verdict.reason, verdict.seconds, drained),
            )
        self._said.append(_Said(lines, verdict))
        self._wake.set()

    def _naming_the_key(self, line: str, reason: str) -> str:
        known = self._deployments.get(line)
        if known is None or known.api_key is None:
            return reason
        if reason.startswith(known.api_key):
            return f"{known.key_label}{reason.removeprefix(known.api_key)}"
        return f"{reason}, {known.key_label}"

    def _set(self, line: str, standing: Condition) -> None:
        before = self.condition(line)
        if standing == OPEN:
            self._conditions.pop(line, None)
        else:
            self._conditions[line] = standing
        if standing.status is before.status:
            return
        self._since[line] = self._clock()
        if line in self._breakers:
            self._breakers[line].forget()
        if before.sends and not standing.sends:
            self._closed.set()

    def _learn(self, read: Mapping[str, Condition]) -> None:
        ours = {line for said in self._said for line in said.lines}
        for line in (read.keys() | self._conditions.keys()) - ours:
            now, left = read.get(line, OPEN), self.condition(line).left
            if now == OPEN and left is not None and left > EARLY:
                self._resumed.add(line)
            self._set(line, now)

    def _tell(self, changed: list[str], verdict: Verdict) -> None:
        for line in changed:
            if verdict.status is DeploymentStatus.OPEN:
                log.info("deployment open again", deployment=line)
                continue
            self.closings[line, str(verdict.cause)] += 1
            tell = log.error if verdict.status is DeploymentStatus.DISABLED else log.warning
            known = {} if verdict.seconds is None else {"seconds": round(verdict.seconds)}
            tell(
                f"deployment {verdict.status}",
                deployment=line,
                cause=verdict.cause,
                reason=verdict.reason,
                **known,
            )


async def _write(conn: Connection, said: _Said) -> list[str]:
    lines, verdict = said.lines, said.verdict
    if verdict.status is DeploymentStatus.OPEN or verdict.cause is None:
        return await heal(conn, lines)
    cause, reason = verdict.cause, verdict.reason
    if verdict.status is DeploymentStatus.DISABLED:
        return await disable(conn, lines, cause=cause, reason=reason)
    if verdict.seconds is not None:
        return await park(conn, lines, cause=cause, reason=reason, seconds=verdict.seconds)
    # Workers that met the same failure do not come back at the same moment.
    jitter = random.uniform(0.8, 1.2)
    return await trip(conn, lines, cause=cause, reason=reason, jitter=jitter)
