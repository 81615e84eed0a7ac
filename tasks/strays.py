"""Strays: chunks on a deployment that the configuration has lost, which no lane would take.

They are planned again on a candidate of their plan that is still there, at its bounds; where
there is none, their requests fail and say why.
"""

import asyncio
import json
from collections import defaultdict

import structlog

from core.plan import indexes
from core.status import Condition
from core.work import LeasedChunk
from db.connect import Connection
from db.health import conditions
from db.replies import read_replies
from db.strays import (
    fail_strays,
    forgive,
    lock_strays,
    lock_waiting_steps,
    lost_deployments,
    rebind,
    settle_step,
)
from providers.errors import ErrorClass
from routing.policies import SOON
from tasks.binding import RETURN_AFTER
from tasks.bounds import bounds_of
from tasks.yard import Yard

log = structlog.get_logger()

WORK_SECONDS = 2.0
CLOSED = "no later candidate could be called"


async def gather_strays(yard: Yard) -> int:
    """Moves strays on for about two seconds; returns how many chunks were moved or ended."""
    context = yard.context
    async with context.pool.connection() as conn:
        gone = await lost_deployments(conn, context.deployments.keys())
    if not gone:
        return 0
    loop = asyncio.get_running_loop()
    end, total = loop.time() + WORK_SECONDS, 0
    while loop.time() < end and (done := await _some(yard, gone)):
        total += done
    if total:
        log.warning("moved on from lost deployments", deployments=gone, chunks=total)
        await context.publisher.publish("dispatch")
    return total


async def end_waiting_steps(yard: Yard) -> int:
    """Cascades whose next candidates are all closed for longer do not wait without end: the best
    answer so far is the result. Requests without one may go back to those that have failed them.
    How many chunks; a few at a time."""
    async with yard.context.pool.connection() as conn, conn.transaction():
        standing = await conditions(conn)
        away = {name for name, one in standing.items() if not one.binds and _long(one)}
        if not away:
            return 0
        chunks = await lock_waiting_steps(conn, away, RETURN_AFTER)
        lost = [
            chunk
            for chunk in chunks
            if all(
                chunk.plan.candidates[index] in away
                for index in indexes(chunk.plan.mask(chunk.among) & ~chunk.excluded)
            )
        ]
        await read_replies(conn, lost)
        for chunk in lost:
            if chunk.escalated:
                await settle_step(conn, chunk, CLOSED)
            else:
                await forgive(conn, chunk)
    for job_id in {chunk.job_id for chunk in lost}:
        await yard.context.publisher.publish("finish", job_id)
    return len(lost)


def _long(condition: Condition) -> bool:
    """Whether it stays closed for longer than one waits."""
    return condition.reopens is None or condition.reopens > SOON


async def _some(yard: Yard, gone: list[str]) -> int:
    config = yard.context.settings.digest()
    async with yard.context.pool.connection() as conn, conn.transaction():
        chunks = await lock_strays(conn, gone, config=config, process_id=yard.process_id)
        hopeless: dict[str, list[LeasedChunk]] = defaultdict(list)
        for chunk in chunks:
            if not await _move_on(conn, yard, chunk):
                hopeless[chunk.deployment].append(chunk)
        for deployment, lost in hopeless.items():
            await fail_strays(conn, lost, _error(deployment))
    return len(chunks)


async def _move_on(conn: Connection, yard: Yard, chunk: LeasedChunk) -> bool:
    """Whether the plan has another candidate that may be called; dispatch chooses."""
    for candidate in chunk.plan.listed(chunk.among):
        if chunk.excluded >> candidate & 1:
            continue
        deployment = yard.context.deployments.get(chunk.plan.candidates[candidate])
        if deployment is None:
            continue
        sizes = map(chunk.size_of, range(chunk.size))
        bounds = bounds_of(sizes, deployment, limited=chunk.limited)
        if bounds is not None:
            await rebind(conn, chunk, candidate, bounds)
            return True
    return False


def _error(deployment: str) -> str:
    return json.dumps(
        {
            "code": "deployment_gone",
            "message": f"{deployment!r} is no longer in the configuration, and the plan has no "
            "other candidate left that may be called. Put it back and submit the request again",
            "class": ErrorClass.BAD_REQUEST,
        }
    )
