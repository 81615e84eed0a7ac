"""Active health checks of self-hosted servers: whoever finds one due makes it.

Two checks in a row without an answer close all lines of the provider until the next but one;
an answer lets those that cool for their failures be probed at once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

import structlog
from psycopg import OperationalError

from core.deployment import Deployment, HealthCheck
from core.status import Cause
from db.connect import Pool
from db.health import checked, due_check, park, probe
from providers.watch import look

log = structlog.get_logger()

PACE = 1.0
FAILURES = 2


async def watch(pool: Pool, deployments: Mapping[str, Deployment]) -> None:
    """Looks after the watched providers for as long as the process lives."""
    watched = watched_lines(deployments)
    while watched:
        await asyncio.gather(*(_check_in_time(pool, *one) for one in watched.items()))
        await asyncio.sleep(PACE)


def watched_lines(
    deployments: Mapping[str, Deployment],
) -> dict[tuple[str, HealthCheck], list[str]]:
    """The lines of each watched provider."""
    found: dict[tuple[str, HealthCheck], list[str]] = defaultdict(list)
    for name, deployment in deployments.items():
        if deployment.health is not None:
            found[deployment.provider, deployment.health].append(name)
    return dict(found)


async def _check_in_time(pool: Pool, key: tuple[str, HealthCheck], lines: list[str]) -> None:
    try:
        async with pool.connection() as conn:
            due = await due_check(conn, key[0], key[1].every)
        if due:
            await check(pool, *key, lines)
    except OperationalError as error:
        log.warning("health check broken off", provider=key[0], reason=type(error).__name__)


async def check(pool: Pool, provider: str, how: HealthCheck, lines: list[str]) -> None:
    """One look at the server, and what follows from it for its lines."""
    ok, said = await asyncio.to_thread(look, how.url)
    async with pool.connection() as conn:
        failures = await checked(conn, provider, ok=ok)
        if ok:
            changed = await probe(conn, lines)
            if changed:
                log.info("its server answers again", provider=provider, deployments=changed)
        elif failures >= FAILURES:
            reason = f"{failures} health checks in a row failed: GET {how.url}: {said}"
            changed = await park(
                conn, lines, cause=Cause.UNREACHABLE, reason=reason, seconds=2.5 * how.every
            )
            if failures == FAILURES and changed:
                log.warning("its server is away", provider=provider, reason=reason)
