"""Claiming bound chunks and reading what their entries send."""

import math
from collections import defaultdict
from collections.abc import Iterable

from core.work import Entry, LeasedChunk
from db.connect import Connection, statements
from db.leased import COLUMNS, leased
from db.replies import read_replies

SQL = statements("lease")


async def claim(
    conn: Connection, deployment: str, *, owner: int, room: int, before: float = math.inf
) -> list[LeasedChunk]:
    """Leases due chunks of the deployment to the process `owner`, about `room` requests; only
    those whose turn comes before `before`."""
    params = {"deployment": deployment, "owner": owner, "room": room, "before": before}
    found = []
    for row in await (await conn.execute(SQL["claim"], params)).fetchall():
        chunk = leased(row)
        chunk.project, chunk.turn, chunk.express = row[COLUMNS:]
        found.append(chunk)
    return found


async def due_deployments(conn: Connection, names: list[str]) -> list[str]:
    """Those of the deployments that have something due."""
    cursor = await conn.execute(SQL["due"], {"deployments": names})
    return [row[0] for row in await cursor.fetchall()]


async def read_entries(conn: Connection, chunks: list[LeasedChunk]) -> list[Entry]:
    """The chunks' entries in order, with their bodies and the answers of earlier steps."""
    wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
    for chunk in chunks:
        wanted[chunk.part, chunk.job_id].extend(chunk.seqs)
    bodies: dict[tuple[int, int], str] = {}
    for (part, job_id), seqs in wanted.items():
        cursor = await conn.execute(SQL["bodies"], {"part": part, "job_id": job_id, "seqs": seqs})
        bodies.update(((job_id, seq), body) for seq, body in await cursor.fetchall())
    replies = await read_replies(conn, chunks)
    return [
        Entry(
            chunk,
            index,
            bodies[chunk.job_id, seq].encode(),
            replies.get((chunk.job_id, seq), ()),
        )
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
