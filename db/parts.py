"""Parts: the month's, for small jobs, and a part of its own for a large one."""

from typing import Any

from psycopg import AsyncCursor, sql
from psycopg.errors import LockNotAvailable

from core.errors import ConflictError
from db.connect import Connection, statements

SQL = statements("parts")
# As in db/schema.py, which costs 15 MiB to import.
PARTITIONED = ("requests", "routes", "attempts", "results")
OWN_FIRST = 1_000_000_000
LARGE_JOB = 1_000_000
DROP_WAIT = "10s"


def is_own(part: int) -> bool:
    """Whether one job has the part to itself."""
    return part >= OWN_FIRST


async def part_for(conn: Connection, lines: int | None) -> int:
    """The part for a job of about this many lines, its partitions made when they are not
    there yet. Runs its own short transaction; safe between processes."""
    if lines is not None and lines > LARGE_JOB:
        return await _own_part(conn)
    part = await _number(await conn.execute(SQL["month"]))
    if await _number(await conn.execute(SQL["exists"], {"part": part})):
        return part
    async with conn.transaction():
        await conn.execute(SQL["lock"])
        if not await _number(await conn.execute(SQL["exists"], {"part": part})):
            await _create(conn, part)
    return part


async def drop_part(conn: Connection, part: int) -> None:
    """Removes a part with everything in it, in the caller's transaction or one of its own.

    Raises ConflictError when long readers keep the tables busy.
    """
    try:
        async with conn.transaction():
            await conn.execute(sql.SQL("set local lock_timeout = {}").format(DROP_WAIT))
            await conn.execute(SQL["lock"])
            for table in PARTITIONED:
                partition = sql.Identifier(f"{table}_p{part}")
                await conn.execute(sql.SQL("drop table if exists {}").format(partition))
            await conn.execute(SQL["remove"], {"part": part})
    except LockNotAvailable as error:
        raise ConflictError("The tables are being read just now. Try again in a moment") from error


async def _own_part(conn: Connection) -> int:
    async with conn.transaction():
        await conn.execute(SQL["lock"])
        part = await _number(await conn.execute(SQL["next_own"], {"first": OWN_FIRST}))
        await _create(conn, part)
    return part


async def _create(conn: Connection, part: int) -> None:
    for table in PARTITIONED:
        names = {
            "parent": sql.Identifier(table),
            "partition": sql.Identifier(f"{table}_p{part}"),
            "part": sql.Literal(part),
        }
        make = "create table {partition} (like {parent} including all)"
        attach = "alter table {parent} attach partition {partition} for values in ({part})"
        await conn.execute(sql.SQL(make).format(**names))
        await conn.execute(sql.SQL(attach).format(**names))
    await conn.execute(SQL["add"], {"part": part})


async def _number(cursor: AsyncCursor[tuple[Any, ...]]) -> int:
    [(value,)] = await cursor.fetchall()
    return int(value)
