"""Process rows: registering, renewing, and the work that dead processes leave behind."""

from dataclasses import dataclass

from core.status import Back
from core.work import LeasedChunk
from db.connect import Connection, only_row, statements
from db.leased import COLUMNS, leased

SQL = statements("processes")


def session_name(host: str, pid: int) -> str:
    """How Postgres knows the connections of a process."""
    return f"batchyard {pid}@{host}"


async def register(
    conn: Connection, *, kind: str, host: str, pid: int, lease: float, controls: bool = False
) -> int:
    """A new process row, leased for `lease` seconds; returns its id, which is never reused."""
    params = {"kind": kind, "host": host, "pid": pid, "lease": lease, "controls": controls}
    return int((await only_row(conn, SQL["register"], params))[0])


async def renew(conn: Connection, process_id: int, lease: float) -> bool:
    """Renews the lease; False when the row is gone.

    A lease that had run out is simply renewed: whatever was taken over meanwhile has another
    fence, so this process' word about it no longer counts.
    """
    cursor = await conn.execute(SQL["renew"], {"id": process_id, "lease": lease})
    return await cursor.fetchone() is not None


async def end(conn: Connection, process_id: int) -> None:
    """The process goes away in good order."""
    await conn.execute(SQL["end"], {"id": process_id})


async def expire(conn: Connection, *, host: str, pid: int) -> None:
    """The process is known to be dead: its lease ends now."""
    await conn.execute(SQL["expire"], {"host": host, "pid": pid})


async def cut_off_silent(conn: Connection) -> int:
    """Ends the transactions of processes whose lease has run out; how many. What froze in the
    middle of one would hold everybody up who needs the same rows, for as long as its connection
    lives."""
    return int((await only_row(conn, SQL["cut_off"], {}))[0])


async def forget_dead(conn: Connection, *, unheard: bool = True) -> None:
    """Drops the rows of long dead processes that own nothing any more; without `unheard`
    only of those known to be dead."""
    await conn.execute(SQL["forget"], {"unheard": unheard})


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A chunk without a living owner. `doubtful` are the entries (indexes) that may have
    been sent and have no attempt."""

    chunk: LeasedChunk
    stopped: bool
    doubtful: list[int]


async def lock_orphans(conn: Connection, *, unheard: bool = True) -> list[LeftBehind]:
    """Locks up to fifty chunks whose owner is dead, for the rest of the transaction. With
    `unheard` an owner whose lease has run out is taken for dead, without it only one that is
    known to be."""
    cursor = await conn.execute(SQL["orphaned"], {"unheard": unheard})
    ids = [row[0] for row in await cursor.fetchall()]
    if not ids:
        return []
    rows = await (await conn.execute(SQL["left_behind"], {"ids": ids})).fetchall()
    found = []
    for row in rows:
        chunk = leased(row)
        chunk.sent, stopped, doubtful = row[COLUMNS:]
        found.append(LeftBehind(chunk, stopped, [index - 1 for index in doubtful]))
    return found


async def put_back(conn: Connection, left: LeftBehind) -> None:
    """The untouched rest goes back; the old owner's word about the chunk no longer counts."""
    await conn.execute(
        SQL["put_back"], {"id": left.chunk.id, "stopped": left.stopped, "reason": Back.WORKER}
    )
