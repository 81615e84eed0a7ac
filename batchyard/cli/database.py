"""The yard's Postgres, for commands that look for themselves."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import UndefinedTable

from batchyard.answering import answering
from batchyard.cli.places import database_url
from batchyard.embedded.home import Home
from core.errors import ServiceError
from db.connect import Connection
from db.projects import find_project

Found = TypeVar("Found")
PATIENCE_S = 5.0


def ask(home: Home, question: Callable[[Connection], Awaitable[Found]]) -> Found:
    """What `question` finds on a connection of its own. Raises ServiceError."""

    async def asked() -> Found:
        async with connected(home) as connection:
            return await question(connection)

    return asyncio.run(asked())


def run_interruptibly(work: Coroutine[Any, Any, Found]) -> Found:
    """What `work` returns. Ctrl-C ends it even where it waits for a line of standard input:
    asyncio's own handler would wait for the line first."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        return asyncio.run(work)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def ask_project(
    home: Home, project: str, question: Callable[[Connection, int], Awaitable[Found]]
) -> Found:
    """What `question` finds for the project's id. Raises ServiceError, and NotFoundError
    before the first job."""

    async def asked(connection: Connection) -> Found:
        return await question(connection, await find_project(connection, project))

    return ask(home, asked)


async def _connect(home: Home) -> Connection:
    """Waits a little for the Postgres of a running yard, which is back within seconds."""
    url = database_url(home, os.environ)
    patient = not os.environ.get("BATCHYARD_DATABASE_URL")
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
        except OperationalError:
            if not patient or time.monotonic() > end or home.running() is None:
                raise
        await asyncio.sleep(0.25)


@asynccontextmanager
async def connected(home: Home) -> AsyncIterator[Connection]:
    """A connection of its own. Raises ServiceError when Postgres is not there, goes away, or
    has not been migrated."""
    try:
        with answering(home):
            async with await _connect(home) as connection:
                yield connection
    except UndefinedTable as error:
        raise ServiceError(
            "this database is not batchyard's yet. Run `batchyard migrate` first"
        ) from error
