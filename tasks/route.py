"""Route: what each request is, who may do it, and at what price at most.

Takes a job's route chunks one after another; each becomes planned chunks of up to 200
requests with an equal plan, in one transaction. Several workers may route one job.
"""

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass

import structlog

from core.errors import InputError
from core.plan import Plan
from db.connect import Connection
from db.planning import (
    PlannedChunk,
    Refused,
    RouteChunk,
    Unrouted,
    put_decisions,
    put_plan,
    read_requests,
    take_route_chunk,
)
from providers.tokens import estimate_many, output_limit
from routing.candidates import Request, order
from routing.targets import Target, resolve_target
from tasks.bounds import bound_nusd, guess_nusd, size_of
from tasks.context import Context

log = structlog.get_logger()

CHUNK = 200


@dataclass(frozen=True, slots=True)
class _Sized:
    """A request with its probable input tokens and its upper bound in nano-dollars."""

    seq: int
    tokens: int
    bound: int


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
    counts = await asyncio.to_thread(_count, requests)
    groups: dict[Plan, list[_Sized]] = defaultdict(list)
    refused: list[Refused] = []
    for request, tokens in zip(requests, counts, strict=True):
        try:
            plan, sized = _decide(context, chunk, request, tokens)
        except InputError as error:
            refused.append(_refusal(request.seq, error))
        else:
            groups[plan].append(sized)
    planned: list[PlannedChunk] = []
    for plan, members in groups.items():
        planned += _pack(await put_plan(conn, plan), plan.candidates[0], members)
    await put_decisions(conn, chunk, planned, refused)
    return len(requests)


def _count(requests: list[Unrouted]) -> list[int | InputError]:
    """Input tokens of each request, or why they cannot be counted."""
    try:
        return [*estimate_many([request.body for request in requests])]
    except InputError:
        return [_count_one(request) for request in requests]


def _count_one(request: Unrouted) -> int | InputError:
    try:
        return estimate_many([request.body])[0]
    except InputError as error:
        return error


def _decide(
    context: Context, chunk: RouteChunk, request: Unrouted, tokens: int | InputError
) -> tuple[Plan, _Sized]:
    """The request's plan, and its size on the plan's first candidate.

    Raises InputError for a request that cannot be called.
    """
    if isinstance(tokens, InputError):
        raise tokens
    target = _target(context, chunk, request)
    seen = Request(tokens, output_limit(request.body, target.max_output))
    plan = Plan(
        route=target.route,
        candidates=order(seen, target, context.deployments),
        max_output=target.max_output,
        max_attempts=target.max_attempts,
    )
    candidates = [context.deployments[name] for name in plan.candidates]
    sizes = [size_of(request.body, tokens, one, plan) for one in candidates]
    bounds = [bound_nusd(size, one) for size, one in zip(sizes, candidates, strict=True)]
    if chunk.limited and None in bounds:
        raise InputError(
            "the request refers to remote files or server tools, whose cost has no upper bound. "
            "Send it in a job without a budget"
        )
    bound = guess_nusd(sizes[0], candidates[0]) if bounds[0] is None else bounds[0]
    return plan, _Sized(request.seq, tokens, bound)


def _target(context: Context, chunk: RouteChunk, request: Unrouted) -> Target:
    """The request's own target; should the configuration have lost it since the submit, the
    job's route."""
    for name in (request.target, chunk.route):
        target = resolve_target(name, context.settings)
        if target is not None:
            return target
    raise InputError(
        f"{request.target!r} is no longer in the configuration. Put it back and submit again"
    )


def _refusal(seq: int, error: InputError) -> Refused:
    detail = {"code": "invalid_request", "message": str(error), "class": "bad_request"}
    return Refused(seq, json.dumps(detail))


def _pack(plan_id: int, deployment: str, members: list[_Sized]) -> list[PlannedChunk]:
    return [
        PlannedChunk(
            plan_id=plan_id,
            deployment=deployment,
            seqs=[one.seq for one in members[at : at + CHUNK]],
            tokens=[one.tokens for one in members[at : at + CHUNK]],
            bounds=[one.bound for one in members[at : at + CHUNK]],
        )
        for at in range(0, len(members), CHUNK)
    ]
