"""The yard's Postgres, for commands that look for themselves."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from psycopg import AsyncConnection, OperationalError

from batchyard.cli.places import database_url
from batchyard.embedded.home import Home
from core.errors import ServiceError
from db.connect import Connection

Found = TypeVar("Found")


def ask(home: Home, question: Callable[[Connection], Awaitable[Found]]) -> Found:
    """What `question` finds on a connection of its own. Raises ServiceError."""
    url = database_url(home, os.environ)
    return asyncio.run(_asked(url, question))


async def _asked(url: str, question: Callable[[Connection], Awaitable[Found]]) -> Found:
    try:
        connection = await AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except OperationalError as error:
        raise ServiceError(
            "Postgres does not answer. Start the yard with `batchyard up -d`, "
            "or check BATCHYARD_DATABASE_URL"
        ) from error
    async with connection:
        return await question(connection)
