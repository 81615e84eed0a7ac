"""A pilot's reads and writes: what is sampled, what came of it, and what its parent takes over."""

from typing import NamedTuple

from db.connect import Connection, only_row, statements

SQL = statements("pilot")
ROOM = 52
"""Of the advisory locks of pilots."""


class Drawn(NamedTuple):
    """A request that may be sampled; its texts are as in `requests`."""

    seq: int
    custom_id: str
    body: str
    metadata: str | None


class Over(NamedTuple):
    """A parent whose pilot has ended; `gold` is the column of right answers."""

    project_id: int
    part: int
    route: str
    pilot_id: int
    gold: str


class Answer(NamedTuple):
    """What a candidate made of a request of the parent: `reply` is its answer (JSON, '' without
    one), `score` is None without one, `cost_nusd` where it is not known."""

    seq: int
    linked_seq: int
    candidate: str
    body: str
    metadata: str | None
    completed: bool
    reply: str
    score: float | None
    cost_nusd: int | None


async def pool(
    conn: Connection, part: int, job_id: int, target: str, *, limit: int, seed: int
) -> list[Drawn]:
    """Up to `limit` requests of the target, drawn by lot, in the order of the input."""
    where = {"part": part, "job_id": job_id, "target": target, "limit": limit, "seed": seed}
    return [Drawn(*row) for row in await (await conn.execute(SQL["pool"], where)).fetchall()]


async def hold_back(conn: Connection, job_id: int) -> None:
    """The job is not routed before its pilot is over."""
    await conn.execute(SQL["hold_back"], {"job_id": job_id})


async def due_pilots(conn: Connection) -> list[int]:
    """Up to a hundred jobs that wait for a pilot that has ended."""
    return [row[0] for row in await (await conn.execute(SQL["due"])).fetchall()]


async def alone(conn: Connection, job_id: int) -> bool:
    """Whether nobody else learns of the job's pilot, until the end of the transaction."""
    params = {"room": ROOM, "job_id": job_id}
    return bool((await only_row(conn, SQL["alone"], params))[0])


async def hold(conn: Connection, job_id: int) -> None:
    """Locks the job's row."""
    await conn.execute(SQL["hold"], {"job_id": job_id})


async def find_over(conn: Connection, job_id: int) -> Over | None:
    """A job that waits for an ended pilot; None where it does not."""
    row = await (await conn.execute(SQL["over"], {"job_id": job_id})).fetchone()
    return None if row is None else Over(*row)


async def answers(conn: Connection, over: Over) -> list[Answer]:
    """All that was asked, in order."""
    where = {"part": over.part, "pilot_id": over.pilot_id}
    return [Answer(*row) for row in await (await conn.execute(SQL["answers"], where)).fetchall()]


async def take_over(conn: Connection, job_id: int, over: Over, taken: dict[int, int]) -> None:
    """These answers (by the parent's seq the pilot's) become the parent's results; what else
    waits is to be routed."""
    where = {"job_id": job_id, "part": over.part, "pilot_id": over.pilot_id}
    lists = {"seqs": list(taken), "linked_seqs": list(taken.values())}
    await conn.execute(SQL["take_answers"], {**where, **lists})
    await conn.execute(SQL["let_go"], {"job_id": job_id})


async def lesson_of(conn: Connection, job_id: int) -> str:
    """What came of the job's pilot, in a sentence; empty before its end."""
    row = await (await conn.execute(SQL["lesson"], {"job_id": job_id})).fetchone()
    return "" if row is None else str(row[0])
