"""Claiming bound chunks and reading what their entries send."""

from collections import defaultdict
from collections.abc import Iterable

from core.plan import Plan
from core.work import Entry, LeasedChunk
from db.connect import Connection, statements

SQL = statements("lease")


async def claim(conn: Connection, deployment: str, *, owner: int, room: int) -> list[LeasedChunk]:
    """Leases due chunks of the deployment to the process `owner`, about `room` requests."""
    cursor = await conn.execute(
        SQL["claim"], {"deployment": deployment, "owner": owner, "room": room}
    )
    return [
        LeasedChunk(
            id=row[0],
            fence=row[1],
            job_id=row[2],
            part=row[3],
            round=row[4],
            plan_id=row[5],
            candidate=row[6],
            deployment=row[7],
            seqs=row[8],
            tries=row[9],
            calls=row[10],
            tokens=row[11],
            bounds=row[12],
            accounts=(row[13], row[14]),
            limited=row[15],
            project=row[16],
            turn=row[17],
            plan=Plan.from_body(row[18]),
        )
        for row in await cursor.fetchall()
    ]


async def read_entries(conn: Connection, chunks: list[LeasedChunk]) -> list[Entry]:
    """The chunks' entries in order, with their bodies."""
    wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
    for chunk in chunks:
        wanted[chunk.part, chunk.job_id].extend(chunk.seqs)
    bodies: dict[tuple[int, int], str] = {}
    for (part, job_id), seqs in wanted.items():
        cursor = await conn.execute(SQL["bodies"], {"part": part, "job_id": job_id, "seqs": seqs})
        bodies.update(((job_id, seq), body) for seq, body in await cursor.fetchall())
    return [
        Entry(chunk, index, bodies[chunk.job_id, seq].encode())
        for chunk in chunks
        for index, seq in enumerate(chunk.seqs)
    ]


async def disown(conn: Connection, chunks: Iterable[LeasedChunk], owner: int) -> None:
    """Leaves leased chunks to the sweep, which finds out what became of their entries."""
    await conn.execute(SQL["disown"], {**_leases(chunks), "owner": owner})


async def disown_unknown(conn: Connection, known: Iterable[LeasedChunk], owner: int) -> None:
    """Leaves all of the owner's chunks to the sweep but those it knows of: a claim may have
    taken effect although its answer was lost."""
    await conn.execute(SQL["disown_unknown"], {**_leases(known), "owner": owner})


async def halted_jobs(conn: Connection, owner: int) -> set[int]:
    """Jobs of the owner's chunks that were paused or stopped meanwhile."""
    cursor = await conn.execute(SQL["halted"], {"owner": owner})
    return {row[0] for row in await cursor.fetchall()}


def _leases(chunks: Iterable[LeasedChunk]) -> dict[str, list[int]]:
    listed = list(chunks)
    return {"ids": [c.id for c in listed], "fences": [c.fence for c in listed]}
