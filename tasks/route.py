"""Route: what each request is, who may do it, and at what price at most.

Takes a job's route chunks one after another; each becomes planned chunks of up to 200
requests with an equal plan, in one transaction. A step works for about two seconds and then
asks for the next one, so that a large job leaves its worker's threads to others.
"""

import asyncio
import json
from bisect import bisect_left
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import structlog

from core.checks import REQUEST_SCHEMA
from core.errors import InputError
from core.money import usd_about
from core.plan import Plan
from core.size import Size
from core.wishes import read_wishes
from db.connect import Connection
from db.linked import LinkedKind
from db.planning import (
    PlannedChunk,
    Refused,
    RouteChunk,
    Unrouted,
    is_unrouted,
    put_decisions,
    put_plan,
    read_requests,
    take_route_chunk,
)
from providers.tokens import Counted, count_many
from routing.candidates import plan_for, windows
from routing.targets import Target, resolve_target
from tasks.bounds import bound_nusd
from tasks.calls.answers import check_schema
from tasks.context import Context
from tasks.router.foreseen import Asked, Foreseen
from tasks.router.foresight import foresee
from tasks.router.intents import understand

log = structlog.get_logger()

CHUNK = 200
WAITING_CHUNK = 2000
WORK_SECONDS = 2.0


class _Sized(NamedTuple):
    """A request with its size and its upper bound in nano-dollars."""

    seq: int
    size: Size
    bound: int


class _Kind:
    """Requests that travel together: an equal plan, and the list of it that they go by.

    `candidate` is the first of the list: what the bounds hold for until dispatch chooses. What
    `waits` does so for the plan of the whole job.
    """

    def __init__(self, plan: Plan, among: str, *, waits: bool = False) -> None:
        self.plan = plan
        self.among = among
        self.waits = waits
        self.candidate = plan.listed(among)[0]
        self.deployment = plan.candidates[self.candidate]


async def route(context: Context, job_id: int) -> str:
    """Routes of the job what it can in its time; returns one line on what was done."""
    loop = asyncio.get_running_loop()
    end, routed = loop.time() + WORK_SECONDS, 0
    while (done := await _route_next(context, job_id)) is not None:
        routed += done
        if loop.time() >= end:
            await _pass_on(context, job_id)
            break
    return f"{routed:,} requests of job_{job_id} routed"


async def _route_next(context: Context, job_id: int) -> int | None:
    """Routes the next free chunk; how many requests it has, None where there is none."""
    async with context.pool.connection() as conn, conn.transaction():
        chunk = await take_route_chunk(conn, job_id)
        if chunk is None:
            return None
        routed, ended = await _route_chunk(context, conn, chunk)
    context.router.uncalled.update(ended)
    await context.publisher.publish("dispatch")
    return routed


async def _pass_on(context: Context, job_id: int) -> None:
    """Where another step is at work on the job already, that one goes on."""
    async with context.pool.connection() as conn:
        waits = await is_unrouted(conn, job_id)
    if waits:
        await context.publisher.publish("route", job_id)


async def _route_chunk(
    context: Context, conn: Connection, chunk: RouteChunk
) -> tuple[int, list[tuple[str, str]]]:
    """How many requests it has, and (route, status) of those that end without a call."""
    requests = await read_requests(conn, chunk)
    understood = await understand(context, conn, chunk, requests)
    if understood is None:
        return 0, []
    targets = {one.seq: one.target for one in requests}
    ended: list[tuple[str, str]] = [(targets[one.seq], one.status) for one in understood.ended]
    requests = understood.to_call(requests)
    # Counting tokens is the one heavy piece of work here: the loop stays free meanwhile.
    counts = await asyncio.to_thread(_count, requests)
    planner = _Planner(context, chunk)
    refused = [*understood.ended]
    asked: list[tuple[Unrouted, Asked]] = []
    for request, counted in zip(requests, counts, strict=True):
        try:
            asked.append((request, planner.asked(request, counted)))
        except InputError as error:
            refused.append(_refusal(request.seq, error))
    foreseen = await foresee(context, conn, chunk, [one for _, one in asked])
    groups: dict[_Kind, list[_Sized]] = defaultdict(list)
    for request, one in asked:
        try:
            kind, sized = planner.decide(request, one, foreseen)
        except InputError as error:
            refused.append(_refusal(request.seq, error))
        else:
            groups[kind].append(sized)
    planned: list[PlannedChunk] = []
    # In this order everywhere: two steps that make the same new plans wait for each other.
    for kind, members in sorted(groups.items(), key=lambda group: group[0].plan.digest()):
        planned += _pack(await put_plan(conn, kind.plan), kind, members)
    reasons = {**foreseen.reasons, **understood.reasons}
    decided = planned, refused, foreseen.predicted, reasons, understood.intents
    await put_decisions(conn, chunk, *decided)
    return len(chunk.seqs), ended


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


_Key: TypeAlias = tuple[str, str | None, int, tuple[str, ...], bool, frozenset[str]]
"""What requests with an equal plan share."""


class _Planner:
    """Decides for the requests of one route chunk; remembers what many of them share."""

    def __init__(self, context: Context, chunk: RouteChunk) -> None:
        self._context = context
        self._chunk = chunk
        self._targets: dict[str, Target] = {}
        self._windows: dict[tuple[str, str | None], list[int]] = {}
        self._kinds: dict[_Key, _Kind] = {}
        self._equal: dict[tuple[Plan, str, bool], _Kind] = {}

    def asked(self, request: Unrouted, counted: Counted | InputError) -> Asked:
        """What the request asks for. Raises InputError for one that cannot be called."""
        if isinstance(counted, InputError):
            raise counted
        target = self._target(request.target)
        size = counted.size(target.max_output)
        return Asked(request.seq, target, size, request.body, request.metadata)

    def decide(self, request: Unrouted, asked: Asked, foreseen: Foreseen) -> tuple[_Kind, _Sized]:
        """Where the request stands, and what bounds its cost there.

        Raises InputError for a request that cannot be called.
        """
        size = asked.size
        kind = self._kind(request, asked, foreseen)
        if self._chunk.limit_nusd is not None and not kind.waits:
            dear = self._too_dear(kind, size, self._chunk.limit_nusd)
            if dear:
                kind = self._kind(request, asked, foreseen, dear)
        if kind.plan.checks.schema == REQUEST_SCHEMA:
            check_schema(request.body)
        first = self._context.deployments[kind.deployment]
        bound = bound_nusd(size, first, limited=self._chunk.limited)
        if bound is None:
            raise InputError(
                "the request refers to remote files or server tools, whose cost has no upper "
                "bound. Send it in a job without a budget"
            )
        return kind, _Sized(request.seq, size, bound)

    def _too_dear(self, kind: _Kind, size: Size, limit: int) -> frozenset[str]:
        """The candidates where the request alone may cost more than the whole budget, which would
        end its job there. Raises InputError where all do."""
        names = [kind.plan.candidates[index] for index in kind.plan.listed(kind.among)]
        deployments = self._context.deployments
        bounds = {name: bound_nusd(size, deployments[name], limited=True) for name in names}
        dear = {name: bound for name, bound in bounds.items() if bound and bound > limit}
        if dear and len(dear) == len(names):
            least = min(dear, key=lambda name: dear[name])
            raise InputError(
                f"the request alone may cost ${usd_about(dear[least])} at {least}, for up to "
                f"{size.output:,} tokens of output; the whole budget is ${usd_about(limit)}. Lower "
                "its max_tokens or the route's max_output, or give the job a larger budget"
            )
        return frozenset(dear)

    def _kind(
        self,
        request: Unrouted,
        asked: Asked,
        foreseen: Foreseen,
        without: frozenset[str] = frozenset(),
    ) -> _Kind:
        deployments, target, size = self._context.deployments, asked.target, asked.size
        wanted = request.target, request.wishes
        known = self._windows.get(wanted)
        if known is None:
            wished = self._wished(request.wishes, target)
            known = self._windows[wanted] = windows(wished, deployments)
        order = foreseen.lines.get(request.seq, target.candidates)
        waits = request.seq in foreseen.waiting
        key = *wanted, bisect_left(known, size.tokens + size.output), order, waits, without
        if key not in self._kinds:
            lines, judged = foreseen.way(_but(order, without) or order, target)
            wished = self._wished(request.wishes, target)
            ordered = replace(
                wished,
                candidates=lines,
                fallbacks=_but(wished.fallbacks, without),
                too_long=_but(wished.too_long, without),
                cascade=judged,
            )
            plan, among = plan_for(size, ordered, deployments)
            made = _Kind(plan, among, waits=waits)
            self._kinds[key] = self._equal.setdefault((plan, among, waits), made)
        return self._kinds[key]

    def _wished(self, asked: str | None, target: Target) -> Target:
        """The target with what the request itself asks for."""
        wishes = read_wishes(asked)
        return replace(
            target, fallbacks=self._fallbacks(wishes.fallbacks, target), timeout=wishes.timeout
        )

    def _fallbacks(self, names: tuple[str, ...], own: Target) -> tuple[str, ...]:
        """The candidates of the request's own fallbacks, each once."""
        found: dict[str, None] = {}
        for name in names:
            target = resolve_target(name, self._context.settings)
            for one in target.candidates if target is not None else ():
                priced = self._context.deployments[one].price is not None
                if one not in own.candidates and (priced or not self._chunk.limited):
                    found[one] = None
        return tuple(found)

    def _target(self, name: str) -> Target:
        """The request's own target; should the configuration have lost it since the submit,
        the job's route."""
        known = self._targets.get(name)
        if known is not None:
            return known
        if self._chunk.kind == LinkedKind.PILOT:
            self._targets[name] = self._tried(name)
            return self._targets[name]
        for one in (name, self._chunk.route):
            target = resolve_target(one, self._context.settings)
            if target is not None:
                self._targets[name] = self._affordable(target)
                return self._targets[name]
        raise InputError(
            f"{name!r} is no longer in the configuration. Put it back and submit again"
        )

    def _tried(self, name: str) -> Target:
        """A pilot's way to one of the candidates: by the rules of its route, and nowhere else."""
        settings = self._context.settings
        route = resolve_target(self._chunk.route, settings)
        if route is None or name not in settings.deployments:
            raise InputError(
                f"{name!r} is no longer in the configuration. Put it back and submit again"
            )
        rules = route.max_output, route.max_attempts, route.checks
        return Target(name, settings.lines(name), "ordered", *rules)

    def _affordable(self, target: Target) -> Target:
        """The target without what a budget cannot be kept on: the configuration may have lost
        a price since the submit."""
        if not self._chunk.limited:
            return target
        priced, longer, refused = (
            tuple(n for n in names if self._context.deployments[n].price is not None)
            for names in (target.candidates, target.too_long, target.refused)
        )
        if not priced:
            raise InputError(
                f"a budget needs known prices, and nobody knows the price of "
                f"{', '.join(target.candidates)} any more. Give it a price in batchyard.yaml and "
                "submit again"
            )
        return replace(target, candidates=priced, too_long=longer, refused=refused)


def _but(names: tuple[str, ...], without: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in without) if without else names


def _refusal(seq: int, error: InputError) -> Refused:
    detail = {"code": "invalid_request", "message": str(error), "class": "bad_request"}
    return Refused(seq, json.dumps(detail))


def _pack(plan_id: int, kind: _Kind, members: list[_Sized]) -> list[PlannedChunk]:
    chunk = WAITING_CHUNK if kind.waits else CHUNK
    return [
        PlannedChunk(
            plan_id=plan_id,
            deployment="" if kind.waits else kind.deployment,
            seqs=[one.seq for one in members[at : at + chunk]],
            sizes=[one.size for one in members[at : at + chunk]],
            bounds=[one.bound for one in members[at : at + chunk]],
            candidate=kind.candidate,
            among=kind.among,
            kind="plan" if kind.waits else "call",
        )
        for at in range(0, len(members), chunk)
    ]
