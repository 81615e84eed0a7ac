"""Finish: a job with no open chunk is over."""

from db.finish import end_job
from db.scores import is_unscored
from tasks.context import Context


async def finish(context: Context, job_id: int) -> str:
    """Ends the job if it is over; harmless at any other time."""
    async with context.pool.connection() as conn:
        status = await end_job(conn, job_id)
        scored = status is not None and await is_unscored(conn, job_id)
    if scored:
        await context.publisher.publish("score", job_id)
    return f"job_{job_id} {status}" if status else f"job_{job_id} is not over"
