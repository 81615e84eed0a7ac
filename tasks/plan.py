"""Plan: one wave of a job that is decided as a whole.

Takes all that is left of the job, what it has truly spent, and what the deployments can do until
its deadline; decides for all of it; sends out one wave (`routing/batch/waves.py`), in one
transaction.
The next wave is asked for when little is out: by whoever records an answer, and by the clock.
Light enough for every worker: what decides is imported where there is something to decide.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psycopg.errors import LockNotAvailable

from core.ids import job_name
from core.lazy import lazy
from core.router import RouterSettings
from core.status import Condition
from db.brakes import read_brakes
from db.connect import Connection
from db.health import conditions
from db.planning import put_plan
from db.router_models import promoted_info
from db.vitals import read_vitals
from db.waves import (
    PlanJob,
    due_jobs,
    exhaust,
    lock_waiting,
    plan_job,
    put_wave,
    read_answered,
    read_counts,
    read_foreseen,
    read_others,
    read_out,
    read_plans,
    release,
)
from tasks.context import Context

if TYPE_CHECKING:
    from tasks.waves import wave
else:
    wave = lazy("tasks.waves.wave")

SAMPLE = 5_000
"""Answers, about, whose true costs correct what is expected of the others."""


async def ring_plans(context: Context) -> int:
    """Asks for the next wave of the jobs that need one; how many."""
    async with context.pool.connection() as conn:
        jobs = await due_jobs(conn)
    for job_id in jobs:
        await context.publisher.publish("plan", job_id)
    return len(jobs)


async def plan(context: Context, job_id: int) -> str:
    """Plans the job's next wave; one line on what was done. Harmless at any other time."""
    try:
        async with context.pool.connection() as conn:
            # Not in the transaction: ending a cooling would keep others waiting for all of it.
            standing = await conditions(conn)
            async with conn.transaction():
                if not await due_jobs(conn, [job_id]):
                    return f"{job_name(job_id)} needs no wave now"
                step, told = await _plan(context, conn, job_id, standing)
    except LockNotAvailable:
        return f"somebody else is at work on {job_name(job_id)}"
    if step == "finish":
        await context.publisher.publish("finish", job_id)
    elif step:
        await context.publisher.publish(step)
    return told


async def _plan(
    context: Context, conn: Connection, job_id: int, standing: Mapping[str, Condition]
) -> tuple[str, str]:
    """The step to ring for, and what was done."""
    waiting = await lock_waiting(conn, job_id)
    part = await plan_job(conn, job_id)
    if not waiting or part is None or not part.goes:
        return "", f"{job_name(job_id)} has nothing to plan"
    plans = await read_plans(conn, (one.plan_id for one in waiting))
    out = await read_out(conn, job_id, part.part)
    job = await plan_job(conn, job_id)
    if job is None:
        return "", f"{job_name(job_id)} is gone"
    router, price = await _router(context, conn, job, plans[waiting[0].plan_id].route)
    seen = wave.Seen(
        job=job,
        # What has no candidate left for which there is money keeps nobody waiting.
        waiting=[one for one in waiting if one.goes(plans[one.plan_id])],
        plans=plans,
        out=out,
        foreseen=await read_foreseen(conn, job_id, job.part),
        answered=await read_answered(conn, job_id, job.part, job.total // SAMPLE + 1),
        deployments=context.deployments,
        standing=standing,
        vitals=await read_vitals(conn),
        brakes=await read_brakes(conn),
        others={} if job.left_s is None else await read_others(conn, job_id),
        router=router,
        price=price,
    )
    decided = await asyncio.to_thread(wave.decide, seen) if seen.waiting else None
    if decided is None or not decided.touched:
        if out or job.reserved_nusd:
            return "", f"{job_name(job_id)} waits for money that is promised to calls under way"
        await exhaust(conn, job_id, [one.id for one in waiting])
        return "finish", f"the budget of {job_name(job_id)} has room for no request that is left"
    counts = await read_counts(conn, decided.touched)
    released = await asyncio.to_thread(wave.released, seen, decided, counts)
    chunks = [(await put_plan(conn, one.plan), one) for one in released]
    await release(conn, job_id, job.part, chunks, decided.kept, decided.empty)
    await put_wave(conn, job_id, job.waves + 1, decided.body)
    return (
        "dispatch",
        f"wave {job.waves + 1} of {job_name(job_id)}: {decided.body['requests']} go out",
    )


async def _router(
    context: Context, conn: Connection, job: PlanJob, route: str
) -> tuple[RouterSettings | None, float]:
    """The settings of the route's router, and the price of quality that its training chose."""
    known = context.settings.routes.get(route)
    if known is None or known.router is None:
        return None, 0.0
    info: dict[str, Any] = await promoted_info(conn, job.project_id, known.router.model) or {}
    return known.router, float(info.get("price") or 0.0)
