"""Connections to Postgres: one pool a process, autocommit, named statements."""

import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from core.errors import ServiceError

Connection = AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[Connection]

SQL_FOLDER = Path(__file__).parent / "sql"
CONNECT_TIMEOUT = 10.0
CHECK_EVERY = 1.0
# A server that went without a word (a failover) is noticed within half a minute, and not after
# the two hours of the system's own patience. What the address says of it goes before.
NOTICED_GONE: Final[dict[str, Any]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
SHARED = re.compile(r"\{(?P<room>\w+)\.(?P<name>\w+)\}")
REMEDY = "Start the yard with `batchyard up -d`, or check BATCHYARD_DATABASE_URL"


def statements(room: str) -> dict[str, bytes]:
    """The statements of `db/sql/<room>.sql`, by the name in their `-- name:` line. `{room.name}`
    in one stands for another room's."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (SQL_FOLDER / f"{room}.sql").read_text(encoding="utf-8").splitlines():
        if line.startswith("-- name:"):
            name = line.removeprefix("-- name:").strip()
            found[name] = []
        elif name and not line.startswith("--"):
            found[name].append(line)
    return {
        name: SHARED.sub(_shared, "\n".join(lines)).strip().rstrip(";").encode()
        for name, lines in found.items()
    }


def _shared(found: re.Match[str]) -> str:
    return statements(found["room"])[found["name"]].decode()


async def only_row(conn: Connection, statement: bytes, params: dict[str, Any]) -> tuple[Any, ...]:
    """The one row of a statement that always has one."""
    row = await (await conn.execute(statement, params)).fetchone()
    if row is None:
        raise ServiceError("Postgres gave no row where there is always one. Run `batchyard doctor`")
    return row


class _Pooled(AsyncConnection[tuple[Any, ...]]):
    """Remembers when it was last seen to be whole."""

    whole_at = -math.inf


async def _check(conn: Connection) -> None:
    """Raises psycopg.OperationalError for a connection that is gone. One that was whole a moment
    ago is not asked again: that question was a third of all transactions."""
    now = time.monotonic()
    if isinstance(conn, _Pooled) and now - conn.whole_at > CHECK_EVERY:
        await AsyncConnectionPool.check_connection(conn)
        conn.whole_at = now


@asynccontextmanager
async def open_pool(
    database_url: str, size: int = 4, *, remedy: str = REMEDY, name: str = "batchyard"
) -> AsyncIterator[Pool]:
    """A pool of up to `size` autocommit connections, closed at the end of the block. `name` is
    how Postgres knows them.

    Raises ServiceError with the remedy when Postgres does not answer within ten seconds.
    """
    pool: Pool = AsyncConnectionPool(
        make_conninfo("", **(NOTICED_GONE | conninfo_to_dict(database_url))),
        min_size=1,
        max_size=size,
        open=False,
        timeout=CONNECT_TIMEOUT,
        kwargs={"autocommit": True, "application_name": name},
        connection_class=_Pooled,
        check=_check,
    )
    try:
        await pool.open(wait=True, timeout=CONNECT_TIMEOUT)
    except (PoolTimeout, OperationalError) as error:
        await pool.close()
        raise ServiceError(f"Postgres does not answer. {remedy}") from error
    try:
        yield pool
    finally:
        await pool.close()
