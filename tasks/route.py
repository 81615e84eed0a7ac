"""Route: what each request is, who may do it, and at what price at most.

Takes a job's route chunks one after another; each becomes planned chunks of up to 200
requests with an equal plan, in one transaction. Several workers may route one job.
"""

import asyncio
from collections import defaultdict

import structlog
from providers.tokens import estimate_many, output_limit

from core.errors import InputError
from core.plan import Plan
from db.connect import Connection
from db.planning import (
    PlannedChunk,
    RouteChunk,
    Unrouted,
    put_decisions,
    put_plan,
    read_requests,
    take_route_chunk,
)
from routing.candidates import Request, order
from routing.targets import Target, resolve_target
from tasks.bounds import bound_nusd, size_of
from tasks.context import Context

log = structlog.get_logger()

CHUNK = 200


async def route(context: Context, job_id: int) -> str:
    """Routes what is left of the job; returns one line on what was done."""
    routed = 0
    while True:
        async with context.pool.connection() as conn, conn.transaction():
            chunk = await take_route_chunk(conn, job_id)
            if chunk is None:
                break
            routed += await _route_chunk(context, conn, chunk)
        await context.publisher.publish("dispatch", "")
    return f"{routed} requests of job_{job_id} routed"


async def _route_chunk(context: Context, conn: Connection, chunk: RouteChunk) -> int:
    requests = await read_requests(conn, chunk)
    # Counting tokens is the one heavy piece of work here: the loop stays free meanwhile.
    tokens = await asyncio.to_thread(estimate_many, [request.body for request in requests])
    groups: dict[Plan, list[tuple[Unrouted, int]]] = defaultdict(list)
    for request, count in zip(requests, tokens, strict=True):
        groups[_plan(context, chunk, request, count)].append((request, count))
    planned: list[PlannedChunk] = []
    for plan, members in groups.items():
        plan_id = await put_plan(conn, plan)
        planned += _pack(context, plan, plan_id, members)
    await put_decisions(conn, chunk, planned)
    return len(requests)


def _plan(context: Context, chunk: RouteChunk, request: Unrouted, tokens: int) -> Plan:
    target = _target(context, chunk, request)
    seen = Request(tokens, output_limit(request.body, target.max_output))
    return Plan(
        route=target.route,
        candidates=order(seen, target, context.deployments),
        max_output=target.max_output,
        max_attempts=target.max_attempts,
    )


def _target(context: Context, chunk: RouteChunk, request: Unrouted) -> Target:
    """The request's own target; should the configuration have lost it since the submit, the
    job's route."""
    for name in (request.target, chunk.route):
        target = resolve_target(name, context.settings)
        if target is not None:
            return target
    raise InputError(
        f"job_{chunk.job_id} names {request.target!r}, which the configuration no longer has. "
        "Put it back or cancel the job"
    )


def _pack(
    context: Context, plan: Plan, plan_id: int, members: list[tuple[Unrouted, int]]
) -> list[PlannedChunk]:
    first = context.deployments[plan.candidates[0]]
    rows = [
        (
            request.seq,
            tokens,
            bound_nusd(size_of(request.body, tokens, first, plan), first, limited=False),
        )
        for request, tokens in members
    ]
    return [
        PlannedChunk(
            plan_id=plan_id,
            deployment=first.name,
            seqs=[row[0] for row in rows[at : at + CHUNK]],
            tokens=[row[1] for row in rows[at : at + CHUNK]],
            bounds=[row[2] for row in rows[at : at + CHUNK]],
        )
        for at in range(0, len(rows), CHUNK)
    ]
