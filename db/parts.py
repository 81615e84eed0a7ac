"""Parts: the month's, for small jobs, and a part of its own for a large one."""

import asyncio
from typing import Any

from psycopg import AsyncCursor, sql
from psycopg.errors import LockNotAvailable

from core.errors import ConflictError
from db.connect import Connection, statements

SQL = statements("parts")
# As in db/schema.py, which costs 15 MiB to import.
PARTITIONED = ("requests", "routes", "attempts", "results", "scores", "replies")
OWN_FIRST = 1_000_000_000
LARGE_JOB = 250_000
# Whoever waits to drop a partition stands before all who come after and only want to write.
DROP_WAIT, DROP_PAUSE, DROP_PATIENCE = "200ms", 0.4, 10.0


def is_own(part: int) -> bool:
    """Whether one job has the part to itself."""
    return part >= OWN_FIRST


def is_large(lines: int | None) -> bool:
    """Whether a job of about this many lines should have a part of its own."""
    return lines is not None and lines > LARGE_JOB


def own_part(job_id: int) -> int:
    """The number of the part that this job alone has."""
    return OWN_FIRST + job_id


async def month_part(conn: Connection) -> int:
    """The month's part, its partitions made when they are not there yet. Runs its own short
    transaction; safe between processes."""
    part = await _number(await conn.execute(SQL["month"]))
    if await _number(await conn.execute(SQL["exists"], {"part": part})):
        return part
    async with conn.transaction():
        await conn.execute(SQL["lock"])
        if not await _number(await conn.execute(SQL["exists"], {"part": part})):
            await create_part(conn, part)
            await attach_part(conn, part)
    return part


async def create_part(conn: Connection, part: int) -> None:
    """Its tables, which nobody sees before they are attached. What is copied into one in the
    same transaction needs no write-ahead log where Postgres keeps the least of it, and no later
    freezing anywhere."""
    for table in PARTITIONED:
        make = "create table {partition} (like {parent} including all, {check})"
        await conn.execute(sql.SQL(make).format(**_names(table, part)))


async def attach_part(conn: Connection, part: int) -> None:
    """Makes a created part's rows those of the tables. Locks out other makers of parts until
    the end of the transaction, but no reader or writer: the check spares the scan of all rows.
    """
    await conn.execute(SQL["lock"])
    for table in PARTITIONED:
        names = _names(table, part)
        attach = "alter table {parent} attach partition {partition} for values in ({part})"
        await conn.execute(sql.SQL(attach).format(**names))
        await conn.execute(
            sql.SQL("alter table {partition} drop constraint {name}").format(**names)
        )
    await conn.execute(SQL["add"], {"part": part})


async def drop_part(conn: Connection, part: int) -> None:
    """Removes a part with everything in it, in the caller's transaction or one of its own.

    Raises ConflictError when long readers keep the tables busy.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + DROP_PATIENCE
    while True:
        try:
            return await _drop(conn, part)
        except LockNotAvailable as error:
            if loop.time() >= end:
                told = "The tables are being read just now. Try again in a moment"
                raise ConflictError(told) from error
        await asyncio.sleep(DROP_PAUSE)


async def _drop(conn: Connection, part: int) -> None:
    """Raises LockNotAvailable; then what it has locked is free again."""
    async with conn.transaction():
        await conn.execute(sql.SQL("set local lock_timeout = {}").format(DROP_WAIT))
        await conn.execute(SQL["lock"])
        for table in PARTITIONED:
            drop = sql.SQL("drop table if exists {}").format(partition_of(table, part))
            await conn.execute(drop)
        await conn.execute(SQL["remove"], {"part": part})


def partition_of(table: str, part: int) -> sql.Identifier:
    """The name of a part's share of a table."""
    return sql.Identifier(f"{table}_p{part}")


def _names(table: str, part: int) -> dict[str, sql.Composable]:
    name = sql.Identifier(f"is_p{part}")
    return {
        "parent": sql.Identifier(table),
        "partition": partition_of(table, part),
        "part": sql.Literal(part),
        "name": name,
        "check": sql.SQL("constraint {} check (part = {})").format(name, sql.Literal(part)),
    }


async def _number(cursor: AsyncCursor[tuple[Any, ...]]) -> int:
    [(value,)] = await cursor.fetchall()
    return int(value)
