"""Chunks on deployments that the configuration has lost: finding them and moving them on."""

from collections.abc import Collection

from core.status import Back
from core.work import LeasedChunk
from db.connect import Connection, statements
from db.leased import leased
from db.replies import take_replies

SQL = statements("strays")
REASON = "its deployment is no longer in the configuration"


async def lost_deployments(conn: Connection, known: Collection[str]) -> list[str]:
    """Names on chunks that nobody holds and that are not among `known`."""
    rows = await (await conn.execute(SQL["deployments"])).fetchall()
    return sorted(row[0] for row in rows if row[0] not in known)


async def lock_strays(
    conn: Connection, gone: list[str], *, config: str, process_id: int
) -> list[LeasedChunk]:
    """Locks up to ten free chunks on `gone` deployments, for the rest of the transaction. Jobs
    that were submitted after this process began, with a configuration other than `config`, are
    left to a process that knows more."""
    params = {"gone": gone, "config": config, "process_id": process_id}
    return [leased(row) for row in await (await conn.execute(SQL["lock"], params)).fetchall()]


async def lock_waiting_steps(
    conn: Connection, away: Collection[str], seconds: float
) -> list[LeasedChunk]:
    """Locks up to twenty chunks of cascades that have waited at one of these deployments for so
    long, for the rest of the transaction."""
    params = {"away": list(away), "seconds": seconds}
    rows = await (await conn.execute(SQL["lock_steps"], params)).fetchall()
    return [leased(row) for row in rows]


async def settle_step(conn: Connection, chunk: LeasedChunk, why: str) -> None:
    """The locked chunk's requests end with their best answers."""
    await _take(conn, chunk, why)
    await conn.execute(SQL["close"], {"ids": [chunk.id], "reason": why})


async def forgive(conn: Connection, chunk: LeasedChunk) -> None:
    """The locked chunk may go back to candidates that have given up on it."""
    await conn.execute(SQL["forgive"], {"id": chunk.id})


async def rebind(conn: Connection, chunk: LeasedChunk, candidate: int, bounds: list[int]) -> None:
    """The locked chunk waits for another candidate (index) of its plan; bounds in nano-dollars."""
    params = {
        "id": chunk.id,
        "candidate": candidate,
        "deployment": chunk.plan.candidates[candidate],
        "bounds": bounds,
        "reason": Back.GONE,
    }
    await conn.execute(SQL["rebind"], params)


async def fail_strays(conn: Connection, chunks: list[LeasedChunk], error: str) -> None:
    """The requests of the locked chunks fail, but for those that a cascade has answers of
    already; `error` is their results' JSON text."""
    ids = [chunk.id for chunk in chunks]
    for chunk in chunks:
        if chunk.plan.cascade is not None:
            await _take(conn, chunk, REASON)
    await conn.execute(SQL["fail"], {"ids": ids, "error": error})
    await conn.execute(SQL["close"], {"ids": ids, "reason": Back.GONE})


async def _take(conn: Connection, chunk: LeasedChunk, why: str) -> None:
    """The best earlier answers become the results of the chunk's requests that have some."""
    await take_replies(
        conn,
        part=chunk.part,
        job_id=chunk.job_id,
        round_=chunk.round,
        seqs=chunk.seqs,
        why=why,
    )
