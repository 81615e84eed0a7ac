"""Which jobs were paused or stopped while this process holds chunks of them.

A lane learns of it with its next window; one that waits long for permits has no next window
soon. So the process looks four times a second, and its lanes give back what they have not sent.
"""

import asyncio

import structlog
from psycopg import OperationalError

from db.lease import halted_jobs
from tasks.yard import Yard

log = structlog.get_logger()

LOOK_EVERY = 0.25


async def watch_halts(yard: Yard) -> None:
    """Keeps `yard.halted` up to date, for ever. Postgres may be away for a while."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if not yard.held:
            yard.halted.clear()
            continue
        try:
            async with yard.context.pool.connection() as conn:
                halted = await halted_jobs(conn, yard.process_id)
        except OperationalError as error:
            log.warning("cannot see which jobs are paused", reason=type(error).__name__)
            continue
        yard.halted.intersection_update(halted)
        yard.halted.update(halted)
