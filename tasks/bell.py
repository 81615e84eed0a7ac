"""Ringing for a step from outside the yard's own workers."""

import logging

from core.errors import ServiceError
from tasks.context import Context

# Not structlog: it would be the largest part of what a submitting process imports here.
log = logging.getLogger(__name__)


async def ring(ctx: Context, step: str, job_id: int) -> None:
    """Asks for the step; when the broker is away the sweep asks again later."""
    try:
        await ctx.publisher.publish(step, job_id)
    except (ServiceError, OSError) as error:
        log.warning("bell not rung: %s of job_%s (%s)", step, job_id, type(error).__name__)
