"""The yard's Postgres, for commands that look for themselves."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import UndefinedTable

from batchyard.cli.places import database_url
from batchyard.embedded.home import Home
from core.errors import ServiceError
from db.connect import Connection
from db.projects import find_project

Found = TypeVar("Found")


def ask(home: Home, question: Callable[[Connection], Awaitable[Found]]) -> Found:
    """What `question` finds on a connection of its own. Raises ServiceError."""

    async def asked() -> Found:
        async with connected(home) as connection:
            return await question(connection)

    return asyncio.run(asked())


def ask_project(
    home: Home, project: str, question: Callable[[Connection, int], Awaitable[Found]]
) -> Found:
    """What `question` finds for the project's id. Raises ServiceError, and NotFoundError
    before the first job."""

    async def asked(connection: Connection) -> Found:
        return await question(connection, await find_project(connection, project))

    return ask(home, asked)


@asynccontextmanager
async def connected(home: Home) -> AsyncIterator[Connection]:
    """A connection of its own. Raises ServiceError when Postgres is not there, goes away, or
    has not been migrated."""
    url = database_url(home, os.environ)
    try:
        async with await AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10
        ) as connection:
            yield connection
    except OperationalError as error:
        raise ServiceError(
            "Postgres does not answer. Start the yard with `batchyard up -d`, "
            "or check BATCHYARD_DATABASE_URL"
        ) from error
    except UndefinedTable as error:
        raise ServiceError(
            "this database is not batchyard's yet. Run `batchyard migrate` first"
        ) from error
