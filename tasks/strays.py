"""Strays: chunks on a deployment that the configuration has lost, which no lane would take.

They are planned again on a candidate of their plan that is still there, at its bounds; where
there is none, their requests fail and say why.
"""

import asyncio
import json
from collections import defaultdict

import structlog

from core.plan import indexes
from core.work import LeasedChunk
from db.connect import Connection
from db.strays import fail_strays, lock_strays, lost_deployments, rebind
from providers.errors import ErrorClass
from tasks.bounds import bounds_of
from tasks.yard import Yard

log = structlog.get_logger()

WORK_SECONDS = 2.0


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
    for candidate in indexes(chunk.plan.mask(chunk.among) & ~chunk.excluded):
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
