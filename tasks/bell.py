"""Ringing for a step from outside the yard's own workers."""

import structlog

from core.errors import ServiceError
from tasks.context import Context

log = structlog.get_logger()


async def ring(ctx: Context, step: str, job_id: int) -> None:
    """Asks for the step; when the broker is away the sweep asks again later."""
    try:
        await ctx.publisher.publish(step, job_id)
    except (ServiceError, OSError) as error:
        log.warning("bell not rung", step=step, job=job_id, reason=type(error).__name__)
