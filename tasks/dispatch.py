"""Dispatch: which planned chunks are bound to their deployments now, and how many lanes run.

Runs every second and after each commit that frees work; one at a time per provider. It
binds no more than about half a minute of a deployment's present rate ahead, so that a late
job, a pause or a change of mind finds most of the work still unbound.
"""

import structlog

from core.deployment import Deployment
from db.connect import Connection
from db.dispatch import (
    Work,
    bind,
    hold_provider,
    issue_tickets,
    live_lanes,
    observed_rate,
    stamp_provider,
    waiting_work,
)
from db.health import conditions
from tasks.context import Context
from tasks.fair import ClaimTurns, FairOrder
from tasks.health import OPEN

log = structlog.get_logger()

HORIZON = 30.0
CHUNK = 200
LEAST_AHEAD = 2 * CHUNK


async def dispatch(context: Context, provider: str = "") -> str:
    """Serves one provider, or all of them; returns one line on what was done."""
    names = [provider] if provider else list(context.settings.providers)
    mine = {name: _deployments(context, name) for name in names}
    async with context.pool.connection() as conn:
        work = await waiting_work(conn, [d.name for one in mine.values() for d in one])
    done = [
        text
        for name in names
        if any(_needs_dispatch(work[d.name]) for d in mine[name])
        and (text := await _serve(context, name, mine[name]))
    ]
    return "; ".join(done) or "nothing to do"


def _deployments(context: Context, provider: str) -> list[Deployment]:
    return [d for d in context.deployments.values() if d.provider == provider]


def _needs_dispatch(work: Work) -> bool:
    return work.planned or work.due > 0 or work.reopens


async def _serve(context: Context, provider: str, mine: list[Deployment]) -> str:
    names = [d.name for d in mine]
    async with context.pool.connection() as conn, conn.transaction():
        if not await hold_provider(conn, provider):
            return ""
        work = await waiting_work(conn, names)
        standing = await conditions(conn)
        binds = [d for d in mine if standing.get(d.name, OPEN).binds]
        chunks = await _bind(conn, binds, work)
        if chunks:
            work = await waiting_work(conn, names)
        due = sum(one.due for name, one in work.items() if standing.get(name, OPEN).sends)
        tickets = await _tickets(conn, context, provider, due)
        if chunks or tickets:
            await stamp_provider(conn, provider)
    queue = f"provider.{provider}"
    for ticket in tickets:
        await context.publisher.publish("call", provider, ticket, queue=queue)
    if not chunks and not tickets:
        return ""
    return f"{provider}: {chunks} chunks bound, {len(tickets)} tickets"


async def _bind(conn: Connection, deployments: list[Deployment], work: dict[str, Work]) -> int:
    chunks = 0
    for deployment in deployments:
        if work[deployment.name].planned:
            rate = await observed_rate(conn, deployment.name)
            room = _ahead(deployment, rate) - work[deployment.name].total
            chunks += await bind_fair(conn, deployment.name, room=room, rate=rate)
    return chunks


async def bind_fair(conn: Connection, deployment: str, *, room: int, rate: float = 0.0) -> int:
    """Binds planned chunks of about `room` requests in fair order; returns how many. Where there
    is no room, jobs of which nothing is bound may go beyond it, by a chunk in all."""
    order = await FairOrder.read(conn, deployment, room=max(room, CHUNK), rate=rate)
    claims = await ClaimTurns.read(conn, [deployment])
    spare = CHUNK + room if room <= 0 else 0
    turns: dict[int, float] = {}
    for chunk in order:
        if room <= 0 and spare <= 0:
            break
        if room > 0:
            room -= chunk.size
        elif claims.has_bound(chunk.job):
            continue
        else:
            spare -= chunk.size
        order.take()
        turns[chunk.id] = claims.next(deployment, chunk, order.weight(chunk.job))
    await order.keep(conn)
    if not turns:
        return 0
    await claims.keep(conn)
    return await bind(conn, turns)


def _ahead(deployment: Deployment, rate: float) -> int:
    """Requests that may be bound to the deployment at once."""
    if deployment.buckets.rpm is not None:
        rate = min(rate, deployment.buckets.rpm / 60)
    in_flight = deployment.buckets.in_flight or 0
    return max(LEAST_AHEAD, 4 * in_flight, round(HORIZON * rate))


async def _tickets(conn: Connection, context: Context, provider: str, due: int) -> list[int]:
    """New tickets: lanes queued and running never outnumber what is due, nor the setting."""
    wanted = min(context.settings.yard.lanes, -(-due // CHUNK))
    if not wanted:
        return []
    missing = wanted - await live_lanes(conn, provider, context.settings.yard.lease)
    return await issue_tickets(conn, provider, missing) if missing > 0 else []
