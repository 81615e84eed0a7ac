"""The answers of a cascade's earlier steps: read for the next one, or taken as results."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from core.work import Kept, LeasedChunk
from db.connect import Connection, statements

SQL = statements("replies")

Replies = dict[tuple[int, int], tuple[Kept, ...]]
"""By job and seq."""


async def read_replies(conn: Connection, chunks: Iterable[LeasedChunk]) -> Replies:
    """What the chunks' requests have been answered in this round, in the order of the calls.
    Marks the chunks whose requests have answers: a chunk's have all, or none."""
    found: dict[tuple[int, int], list[Kept]] = defaultdict(list)
    for chunk in chunks:
        if chunk.plan.cascade is None or not any(chunk.calls):
            continue
        where = {
            "part": chunk.part,
            "job_id": chunk.job_id,
            "round": chunk.round,
            "seqs": chunk.seqs,
        }
        for seq, *answer in await (await conn.execute(SQL["read"], where)).fetchall():
            found[chunk.job_id, seq].append(Kept(*answer))
            chunk.escalated = True
    return {key: tuple(kept) for key, kept in found.items()}


async def take_replies(
    conn: Connection,
    *,
    part: int,
    job_id: int,
    round_: int,
    seqs: Sequence[int] | None,
    why: str,
    writer: int = 0,
) -> None:
    """The best earlier answers become the results of the requests that have none: of these
    `seqs`, or of the whole job. `why` says why nobody else was asked; the process `writer`
    counts them."""
    params = {
        "part": part,
        "job_id": job_id,
        "round": round_,
        "seqs": None if seqs is None else list(seqs),
        "why": why,
        "writer": writer,
    }
    await conn.execute(SQL["take"], params)
