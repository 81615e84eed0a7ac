"""Unrung: asks for what nobody rang for: the routing and scoring of jobs, what pilots teach, the
next waves of jobs that are planned as a whole. Lets go what waited for intents that are told.

Rung every second: a process that submits knows no broker, and a bell may be lost.
"""

from db.linked import LinkedKind, let_answered_go
from db.planning import unrouted_jobs
from tasks.context import Context
from tasks.pilot import ring_pilots
from tasks.plan import ring_plans
from tasks.score import ring_scores


async def unrung(context: Context) -> str:
    """Rings for each of them; returns one line on what was found."""
    async with context.pool.connection() as conn:
        await let_answered_go(conn, LinkedKind.INTENT)
        jobs = await unrouted_jobs(conn)
    for job_id in jobs:
        await context.publisher.publish("route", job_id)
    pilots = await ring_pilots(context)
    waves = await ring_plans(context)
    scored = await ring_scores(context)
    done = f"{len(jobs)} jobs to route, {pilots} pilots over, {waves} waves to plan"
    return f"{done}, {scored} to score"
