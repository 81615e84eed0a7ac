"""Sweep: finds what was lost. Runs on any worker, several at once do no harm.

Silent processes: what one froze in the middle of is ended, so that its locks hold nobody up.
Dead processes: what they may have sent is written down as `unknown` at its bound and called
again in a chunk of one (a prompt that kills workers thus stands alone); the rest goes back
untouched. Lost bells: unrouted and unfinished jobs are rung again. Deadlines are kept. What
waits for a deployment that is gone moves on (`tasks/strays.py`).
"""

import asyncio
from dataclasses import replace

import structlog

from core.status import AttemptStatus
from core.work import Entry, Kept, LeasedChunk, Move, Result, Settled
from db.finish import drop_unsent, unfinished_jobs
from db.planning import unrouted_jobs
from db.processes import cut_off_silent, forget_dead, lock_orphans, put_back
from db.replies import Replies, read_replies
from db.takeover import write_off
from providers.errors import ErrorClass, ProviderError
from tasks.calls.attempt import go_on
from tasks.strays import end_waiting_steps, gather_strays
from tasks.yard import Yard

log = structlog.get_logger()

LOST = "its worker died during the call"


async def sweep(yard: Yard) -> str:
    """One round; returns one line on what was found."""
    context = yard.context
    doubtful = 0
    if _steady(yard):
        await _cut_off(yard)
    while (found := await _take_over(yard)) is not None:
        doubtful += found
    await gather_strays(yard)
    await end_waiting_steps(yard)
    async with context.pool.connection() as conn:
        await drop_unsent(conn)
        unrouted = await unrouted_jobs(conn)
        unfinished = await unfinished_jobs(conn)
        await forget_dead(conn, unheard=_steady(yard))
    for job_id in unrouted:
        await context.publisher.publish("route", job_id)
    for job_id in unfinished:
        await context.publisher.publish("finish", job_id)
    return f"{doubtful} calls in doubt, {len(unrouted)} jobs to route, {len(unfinished)} to finish"


async def _cut_off(yard: Yard) -> None:
    async with yard.context.pool.connection() as conn:
        if cut := await cut_off_silent(conn):
            log.warning("ended what silent processes had begun", transactions=cut)


def _steady(yard: Yard) -> bool:
    now = asyncio.get_running_loop().time()
    return yard.pulse.steady(now, yard.context.settings.yard.lease)


async def _take_over(yard: Yard) -> int | None:
    """Takes over up to fifty orphaned chunks; the number of calls in doubt, None when there
    is nothing left."""
    async with yard.context.pool.connection() as conn, conn.transaction():
        orphans = await lock_orphans(conn, unheard=_steady(yard))
        if not orphans:
            return None
        replies = await read_replies(conn, (left.chunk for left in orphans))
        settled = [
            _in_doubt(yard, Entry(left.chunk, index, b"", _kept(replies, left.chunk, index)))
            for left in orphans
            for index in left.doubtful
        ]
        await write_off(
            conn,
            settled,
            stopped={left.chunk.id for left in orphans if left.stopped},
            commit_id=yard.writer.next_commit_id(),
            owner=yard.process_id,
        )
        for left in orphans:
            await put_back(conn, left)
    yard.meters.wrote_off(settled)
    log.warning("took over a dead process' chunks", chunks=len(orphans), in_doubt=len(settled))
    await yard.context.publisher.publish("dispatch")
    return len(settled)


def _kept(replies: Replies, chunk: LeasedChunk, index: int) -> tuple[Kept, ...]:
    return replies.get((chunk.job_id, chunk.seqs[index]), ())


def _in_doubt(yard: Yard, entry: Entry) -> Settled:
    """The call that nobody knows the end of: charged at its bound, called again."""
    chunk = entry.chunk
    error = ProviderError(ErrorClass.UNKNOWN, None, "worker_lost", LOST, billed=True)
    onward = go_on(yard.context.deployments, entry, error, jitter=0.0)
    deployment = yard.context.deployments.get(chunk.deployment)
    unpriced = entry.bound == 0 and (deployment is None or deployment.price is None)
    return Settled(
        entry=entry,
        status=AttemptStatus.UNKNOWN,
        latency_ms=0,
        cost_nusd=None if unpriced else entry.bound,
        error_class=ErrorClass.UNKNOWN,
        error=LOST,
        result=onward if isinstance(onward, Result) else None,
        move=replace(onward, delay=0.0, reason=LOST) if isinstance(onward, Move) else None,
    )
