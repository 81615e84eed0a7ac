"""Dispatch: which planned chunks are bound to their deployments now, and how many lanes run.

Runs every second and after each commit that frees work; one at a time per provider. It
binds no more than about half a minute of a deployment's present rate ahead, so that a late
job, a pause or a change of mind finds most of the work still unbound.
"""

import structlog

from core.deployment import Deployment
from db.connect import Connection
from db.dispatch import (
    bind,
    bound_requests,
    closed_deployments,
    hold_provider,
    issue_tickets,
    live_lanes,
    observed_rate,
    reopen_deployments,
)
from tasks.context import Context

log = structlog.get_logger()

HORIZON = 30.0
CHUNK = 200
LEAST_AHEAD = 2 * CHUNK


async def dispatch(context: Context, provider: str = "") -> str:
    """Serves one provider, or all of them; returns one line on what was done."""
    names = [provider] if provider else list(context.settings.providers)
    done = [text for name in names if (text := await _serve(context, name))]
    return "; ".join(done) or "nothing to do"


async def _serve(context: Context, provider: str) -> str:
    mine = [d for d in context.deployments.values() if d.provider == provider]
    async with context.pool.connection() as conn, conn.transaction():
        if not await hold_provider(conn, provider):
            return ""
        await reopen_deployments(conn)
        closed = await closed_deployments(conn)
        chunks = await _bind(conn, [d for d in mine if d.name not in closed])
        tickets = await _tickets(conn, context, provider, mine)
    queue = f"provider.{provider}"
    for ticket in tickets:
        await context.publisher.publish("call", provider, ticket, queue=queue)
    if not chunks and not tickets:
        return ""
    return f"{provider}: {chunks} chunks bound, {len(tickets)} tickets"


async def _bind(conn: Connection, deployments: list[Deployment]) -> int:
    bound = await bound_requests(conn, [d.name for d in deployments])
    chunks = 0
    for deployment in deployments:
        ahead = await _ahead(conn, deployment)
        room = ahead - bound[deployment.name].total
        if room > 0:
            chunks += await bind(conn, deployment.name, room=room, chunk_size=CHUNK)
    return chunks


async def _ahead(conn: Connection, deployment: Deployment) -> int:
    """Requests that may be bound to the deployment at once."""
    rate = await observed_rate(conn, deployment.name)
    if deployment.buckets.rpm is not None:
        rate = min(rate, deployment.buckets.rpm / 60)
    in_flight = deployment.buckets.in_flight or 0
    return max(LEAST_AHEAD, 4 * in_flight, round(HORIZON * rate))


async def _tickets(
    conn: Connection, context: Context, provider: str, deployments: list[Deployment]
) -> list[int]:
    """New tickets: lanes queued and running never outnumber what is due, nor the setting."""
    bound = await bound_requests(conn, [d.name for d in deployments])
    due = sum(one.due for one in bound.values())
    wanted = min(context.settings.yard.lanes, -(-due // CHUNK))
    missing = wanted - await live_lanes(conn, provider, context.settings.yard.lease)
    return await issue_tickets(conn, provider, missing) if missing > 0 else []
