"""Reads what a job did, request by request, and what had been foreseen: for `router report`."""

from typing import NamedTuple

from core.errors import InputError
from core.ids import job_name
from db.connect import Connection, only_row, statements

SQL = statements("reports")


class Answer(NamedTuple):
    """A request that was answered by the job's own calls. The cost is None where one of them
    has none that is known, the score where the answer has none."""

    seq: int
    deployment: str
    cost_nusd: int | None
    score: float | None


class Foreseen(NamedTuple):
    """Predictions of a route chunk: packed as in `routes`, a row a request of `seqs`; `firsts`
    has the first candidate of each plan by the plan's id as text."""

    seqs: list[int]
    plan_ids: list[int]
    candidates: list[str]
    quality: bytes
    cost: bytes
    propensity: list[float] | None
    firsts: dict[str, str]


class Piloted(NamedTuple):
    """An answer of the job's pilot; those of one request share its `row`."""

    row: int
    target: str
    score: float
    cost_nusd: int | None


class Done(NamedTuple):
    """All of it. `scorer` is None without scores, `policy` empty where no router chose."""

    scorer: str | None
    policy: str
    answers: list[Answer]
    foreseen: list[Foreseen]
    piloted: list[Piloted]


async def read_done(
    conn: Connection, part: int, job_id: int, *, every: int, scorer: str | None = None
) -> Done:
    """One request in `every` of a job that was found in its project. Without a `scorer` the one
    that it was submitted with counts, or the first by name. Raises InputError for one that has
    not scored it."""
    where = {"part": part, "job_id": job_id, "every": every}
    rows = await (await conn.execute(SQL["scorers"], where)).fetchall()
    names = [row[0] for row in rows]
    if scorer is not None and scorer not in names:
        there = ", ".join(names) or "nobody"
        raise InputError(f"--scorer {scorer}: {job_name(job_id)} was scored by {there}")
    used = scorer or (names[0] if names else None)
    by = {**where, "scorer": used}
    answers = await (await conn.execute(SQL["answers"], by)).fetchall()
    foreseen = await (await conn.execute(SQL["foreseen"], where)).fetchall()
    piloted = await (await conn.execute(SQL["piloted"], by)).fetchall()
    policy = await only_row(conn, SQL["policy"], where)
    return Done(
        used,
        policy[0],
        [Answer(*row) for row in answers],
        [Foreseen(*row) for row in foreseen],
        [Piloted(*row) for row in piloted],
    )


async def was_foreseen(conn: Connection, part: int, job_id: int) -> bool:
    """Whether a router predicted anything of the job, which was found in its project."""
    row = await only_row(conn, SQL["was_foreseen"], {"part": part, "job_id": job_id})
    return bool(row[0])
