"""Reads and writes of the plan step: what is left of a job, and what a wave sends out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from core.plan import Plan
from db.connect import Connection, statements
from db.copytext import array

SQL = statements("waves")


class Waiting(NamedTuple):
    """A chunk that waits for the plan of its job. The arrays are Postgres' binary form of an
    integer array each, in step."""

    id: int
    round: int
    plan_id: int
    excluded: int
    among: str
    came_from: int | None
    seqs: bytes
    tokens: bytes
    text_bytes: bytes
    overheads: bytes
    outputs: bytes

    def goes(self, plan: Plan) -> bool:
        """Whether a candidate is left to it: where the money has no room, one less is."""
        return bool(plan.mask(self.among) & ~self.excluded)


class Out(NamedTuple):
    """Requests of a deployment without a settled call; `bound_nusd` is of those not sent."""

    deployment: str
    seqs: list[int]
    bound_nusd: int


class PlanJob(NamedTuple):
    """A job as it stands: `goes` says that it may be planned now, `left_s` the seconds until its
    deadline, `room_nusd` what its accounts have left before what is reserved for it (None without
    a limit), `quality` the sum of what was expected of the `released` requests of its `waves`."""

    project_id: int
    part: int
    total: int
    account_id: int
    goes: bool
    left_s: float | None
    room_nusd: int | None
    spent_nusd: int
    reserved_nusd: int
    waves: int
    released: int
    quality: float


class Others(NamedTuple):
    """How many other jobs have requests at a deployment that are not answered yet, and how many."""

    jobs: int
    requests: int


class ForeseenRow(NamedTuple):
    """What the route step predicted for a chunk, packed; `seqs` as in Waiting."""

    seqs: bytes
    candidates: list[str]
    quality: bytes
    cost: bytes


class Answered(NamedTuple):
    """What a sample of the answers cost; lists in step."""

    seqs: list[int]
    deployments: list[str]
    costs_nusd: list[int]


@dataclass(frozen=True, slots=True)
class Released:
    """Requests that go out together: a chunk of kind `call`, planned. Lists in step."""

    round: int
    plan: Plan
    candidate: int
    came_from: int | None
    excluded: int
    among: str
    deployment: str
    seqs: list[int]
    tries: list[int]
    calls: list[int]
    tokens: list[int]
    text_bytes: list[int]
    overheads: list[int]
    outputs: list[int]
    bounds: list[int]


@dataclass(frozen=True, slots=True)
class WaveRow:
    """A wave as it was planned."""

    wave: int
    body: dict[str, Any]
    at: datetime


async def due_jobs(conn: Connection, job_ids: Sequence[int] | None = None) -> list[int]:
    """Up to a hundred jobs, of these or of all, whose next wave should be planned now."""
    ids = None if job_ids is None else [*job_ids]
    return [row[0] for row in await (await conn.execute(SQL["due"], {"job_ids": ids})).fetchall()]


async def lock_waiting(conn: Connection, job_id: int) -> list[Waiting]:
    """Locks what waits for a plan for the rest of the transaction. Raises
    psycopg.errors.LockNotAvailable where another step is at work on the job."""
    cursor = await conn.execute(SQL["lock"], {"job_id": job_id})
    return [Waiting(*row) for row in await cursor.fetchall()]


async def read_plans(conn: Connection, ids: Iterable[int]) -> dict[int, Plan]:
    """The plans by id."""
    rows = await (await conn.execute(SQL["plans"], {"ids": sorted(set(ids))})).fetchall()
    return {id_: Plan.from_body(body) for id_, body in rows}


async def read_out(conn: Connection, job_id: int, part: int) -> list[Out]:
    """What is out. Read before `plan_job`."""
    cursor = await conn.execute(SQL["out"], {"job_id": job_id, "part": part})
    return [Out(*row) for row in await cursor.fetchall()]


async def plan_job(conn: Connection, job_id: int) -> PlanJob | None:
    """The job; None where it is gone."""
    row = await (await conn.execute(SQL["job"], {"job_id": job_id})).fetchone()
    return None if row is None else PlanJob(*row)


async def read_others(conn: Connection, job_id: int) -> dict[str, Others]:
    """By deployment, what jobs other than this one have there, bound or planned."""
    rows = await (await conn.execute(SQL["others"], {"job_id": job_id})).fetchall()
    return {row[0]: Others(*row[1:]) for row in rows}


async def read_foreseen(conn: Connection, job_id: int, part: int) -> list[ForeseenRow]:
    """All predictions of the job, later rounds last."""
    cursor = await conn.execute(SQL["foreseen"], {"job_id": job_id, "part": part})
    return [ForeseenRow(*row) for row in await cursor.fetchall()]


async def read_answered(conn: Connection, job_id: int, part: int, every: int) -> Answered:
    """What the answers to one request in `every` cost."""
    where = {"job_id": job_id, "part": part, "every": every}
    row = await (await conn.execute(SQL["answered"], where)).fetchone()
    return Answered(*row) if row and row[0] else Answered([], [], [])


async def read_counts(
    conn: Connection, ids: Iterable[int]
) -> dict[int, tuple[list[int], list[int]]]:
    """By chunk, its requests' tries and calls."""
    rows = await (await conn.execute(SQL["counts"], {"ids": [*ids]})).fetchall()
    return {id_: (tries, calls) for id_, tries, calls in rows}


async def release(
    conn: Connection,
    job_id: int,
    part: int,
    chunks: Sequence[tuple[int, Released]],
    kept: Mapping[int, Sequence[int]],
    empty: Sequence[int],
) -> None:
    """Sends out chunks, each with its plan's id. Of the waiting ones the `empty` are done, the
    `kept` go on with the requests at these places (from 1)."""
    async with conn.pipeline():
        for plan_id, one in chunks:
            await conn.execute(SQL["put_chunk"], _params(job_id, part, plan_id, one))
        for id_, places in kept.items():
            await conn.execute(SQL["keep"], {"id": id_, "places": array(places)})
        await conn.execute(SQL["close"], {"ids": [*empty]})


def _params(job_id: int, part: int, plan_id: int, one: Released) -> dict[str, Any]:
    lists = "seqs tries calls tokens text_bytes overheads outputs bounds".split()
    return {
        "job_id": job_id,
        "part": part,
        "round": one.round,
        "plan_id": plan_id,
        "candidate": one.candidate,
        "came_from": one.came_from,
        "excluded": one.excluded,
        "among": one.among,
        "deployment": one.deployment,
        "size": len(one.seqs),
        **{name: array(getattr(one, name)) for name in lists},
    }


async def put_wave(conn: Connection, job_id: int, wave: int, body: Mapping[str, Any]) -> None:
    """The wave's row: what was decided, on what, and why."""
    params = {"job_id": job_id, "wave": wave, "body": Jsonb(dict(body))}
    await conn.execute(SQL["put_wave"], params)


async def exhaust(conn: Connection, job_id: int, waiting: Sequence[int]) -> None:
    """The money has room for no request that is left, and nothing is out that could free some."""
    await conn.execute(SQL["exhaust"], {"job_id": job_id})
    await conn.execute(SQL["close"], {"ids": [*waiting]})


async def last_wave(conn: Connection, job_id: int) -> WaveRow | None:
    """The newest wave of a job that was found in its project; None where it has none."""
    row = await (await conn.execute(SQL["last_wave"], {"job_id": job_id})).fetchone()
    return None if row is None else WaveRow(*row)


async def job_waves(conn: Connection, job_id: int) -> list[WaveRow]:
    """The waves of a job that was found in its project."""
    cursor = await conn.execute(SQL["waves"], {"job_id": job_id})
    return [WaveRow(*row) for row in await cursor.fetchall()]
