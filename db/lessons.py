"""What a router learns from: the scored answers of a project's jobs."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from core.errors import InputError, NotFoundError
from core.ids import job_name
from db.connect import Connection, only_row, statements

SQL = statements("lessons")
MOST = 100_000
"""Scored answers that are read, of the newest jobs: more teach little, and take memory."""


class Lesson(NamedTuple):
    """A scored answer. `gold` is the metadata column that has the right one ('': none), the cost
    is None where it is not known, the propensity where no router chose who was asked; `reply` is
    the answer (JSON), where that was asked for."""

    prompt_hash: bytes
    body: str
    metadata: str | None
    deployment: str
    score: float
    cost_nusd: int | None
    propensity: float | None
    reply: str | None
    gold: str


class Lessons(NamedTuple):
    """What was found, and the jobs that it is of, the newest first."""

    jobs: list[int]
    rows: list[Lesson]


async def read_lessons(
    conn: Connection,
    project_id: int,
    *,
    jobs: Sequence[int] | None = None,
    since: timedelta | None = None,
    route: str | None = None,
    scorer: str | None = None,
    replies: bool = False,
) -> Lessons:
    """The scored answers of these jobs, or of all since then and to that route, up to `MOST`.
    With `replies` each has its text.
    Where a job has several scorers, one has to be named. Raises InputError, and NotFoundError for
    a job without scores."""
    where = {"project_id": project_id, "jobs": None if jobs is None else list(jobs)}
    cursor = await conn.execute(SQL["jobs"], {**where, "since": since, "route": route})
    found = [int(row[0]) for row in await cursor.fetchall()]
    missing = sorted(set(jobs or ()) - set(found))
    if missing:
        raise NotFoundError(
            f"{', '.join(map(job_name, missing))} has no scores here. Submit with --gold, or use "
            "`batchyard scores import`"
        )
    rows: list[Lesson] = []
    used: list[int] = []
    for job_id in found:
        where = {"project_id": project_id, "job_id": job_id, "replies": replies}
        read = await _lessons(conn, where, scorer, MOST - len(rows))
        used += [job_id] if read else []
        rows += read
        if len(rows) >= MOST:
            break
    return Lessons(used, rows)


async def newest_job(conn: Connection, project_id: int) -> int | None:
    """The job that was submitted last; None before the first."""
    row = await only_row(conn, SQL["newest"], {"project_id": project_id})
    return None if row[0] is None else int(row[0])


async def sample_requests(
    conn: Connection, project_id: int, job_id: int, count: int
) -> list[tuple[bytes, str | None]]:
    """(body, metadata) of up to so many requests from all over the job. Raises NotFoundError."""
    where = {"project_id": project_id, "job_id": job_id, "count": count}
    rows = await (await conn.execute(SQL["sample"], where)).fetchall()
    if not rows:
        raise NotFoundError(f"There is no {job_name(job_id)} here. `batchyard jobs` lists them")
    return [(row[0].encode(), row[1]) for row in rows]


async def _lessons(
    conn: Connection, where: Mapping[str, Any], scorer: str | None, limit: int
) -> list[Lesson]:
    names = [row[0] for row in await (await conn.execute(SQL["scorers"], where)).fetchall()]
    if scorer is None and len(names) > 1:
        raise InputError(
            f"{job_name(where['job_id'])} has scores of {', '.join(names)}. Name the one to learn "
            f"from: --scorer {names[0]}"
        )
    row = await (await conn.execute(SQL["job"], where)).fetchone()
    if row is None or not names:
        return []
    part, gold = row
    params = {**where, "part": part, "scorer": scorer or names[0], "limit": limit}
    cursor = await conn.execute(SQL["lessons"], params)
    return [Lesson._make((*one, gold)) for one in await cursor.fetchall()]


async def told_intents(conn: Connection, project_id: int, job_id: int) -> dict[str, int]:
    """How many of a job's requests were told to be about what; `out_of_scope` and
    `needs_clarification` are those that ended so. Empty where nobody told."""
    where = {"project_id": project_id, "job_id": job_id}
    rows = await (await conn.execute(SQL["intents"], where)).fetchall()
    return {str(name): int(count) for name, count in rows if name}
