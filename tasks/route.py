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
from providers.tokens import Counted, count_many
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
    planner = _Planner(context, chunk)
    groups: dict[Plan, list[_Sized]] = defaultdict(list)
    refused: list[Refused] = []
    for request, counted in zip(requests, counts, strict=True):
        try:
            plan, sized = planner.decide(request, counted)
        except InputError as error:
            refused.append(_refusal(request.seq, error))
        else:
            groups[plan].append(sized)
    planned: list[PlannedChunk] = []
    for plan, members in groups.items():
        planned += _pack(await put_plan(conn, plan), plan.candidates[0], members)
    await put_decisions(conn, chunk, planned, refused)
    return len(requests)


def _count(requests: list[Unrouted]) -> list[Counted | InputError]:
    """What each request costs, or why that cannot be counted."""
    try:
        return [*count_many([request.body for request in requests])]
    except InputError:
        return [_count_one(request) for request in requests]


def _count_one(request: Unrouted) -> Counted | InputError:
    try:
        return count_many([request.body])[0]
    except InputError as error:
        return error


class _Planner:
    """Decides for the requests of one route chunk; remembers what many of them share."""

    def __init__(self, context: Context, chunk: RouteChunk) -> None:
        self._context = context
        self._chunk = chunk
        self._targets: dict[str, Target] = {}
        self._plans: dict[tuple[str, tuple[str, ...]], Plan] = {}

    def decide(self, request: Unrouted, counted: Counted | InputError) -> tuple[Plan, _Sized]:
        """The request's plan, and its size on the plan's first candidate.

        Raises InputError for a request that cannot be called.
        """
        if isinstance(counted, InputError):
            raise counted
        target = self._target(request.target)
        deployments = self._context.deployments
        seen = Request(counted.tokens, counted.output_limit(target.max_output))
        plan = self._plan(target, order(seen, target, deployments))
        if self._chunk.limited and not counted.bounded and self._priced(plan):
            raise InputError(
                "the request refers to remote files or server tools, whose cost has no upper "
                "bound. Send it in a job without a budget"
            )
        first = deployments[plan.candidates[0]]
        size = size_of(counted, first, plan)
        bound = bound_nusd(size, first)
        if bound is None:
            bound = guess_nusd(size, first)
        return plan, _Sized(request.seq, counted.tokens, bound)

    def _plan(self, target: Target, candidates: tuple[str, ...]) -> Plan:
        key = (target.route, candidates)
        plan = self._plans.get(key)
        if plan is None:
            plan = Plan(target.route, candidates, target.max_output, target.max_attempts)
            self._plans[key] = plan
        return plan

    def _priced(self, plan: Plan) -> bool:
        """Whether an unbounded request could cost something."""
        return any(self._context.deployments[name].price is not None for name in plan.candidates)

    def _target(self, name: str) -> Target:
        """The request's own target; should the configuration have lost it since the submit,
        the job's route."""
        known = self._targets.get(name)
        if known is not None:
            return known
        for one in (name, self._chunk.route):
            target = resolve_target(one, self._context.settings)
            if target is not None:
                self._targets[name] = target
                return target
        raise InputError(
            f"{name!r} is no longer in the configuration. Put it back and submit again"
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
