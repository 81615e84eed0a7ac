"""Steps that must happen, however often Postgres goes away meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from psycopg import OperationalError

from db.connect import Connection, Pool

log = structlog.get_logger()

RETRY_PAUSE = 0.25
T = TypeVar("T")


async def persist(pool: Pool, step: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs the step until a try comes through. A try whose answer was lost may have taken
    effect all the same, so the step must be harmless twice."""
    while True:
        try:
            async with pool.connection() as conn:
                return await step(conn)
        except OperationalError as error:
            log.warning("database away, trying again", reason=type(error).__name__)
            await asyncio.sleep(RETRY_PAUSE)
