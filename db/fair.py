"""What fair order needs to know of the yard, and keeps there between two dispatches."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.plan import USUAL
from db.connect import Connection, statements

SQL = statements("fair")


@dataclass(frozen=True, slots=True)
class Planned:
    """A chunk that may be bound: its plan, the candidate that its bounds hold for, those (bits)
    that have given up on it, the list of its plan that it goes by, and for how many seconds it
    has been due."""

    job: int
    id: int
    size: int
    plan_id: int = 0
    candidate: int = 0
    excluded: int = 0
    among: str = USUAL
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job with planned chunks on a deployment, as it stands among others. The `reached` ones
    are None for a newcomer; `limited` says that a budget limits it, `head` is its first chunk,
    `seconds` are left to its deadline."""

    job: int
    project: int
    project_weight: float
    job_weight: float
    project_reached: float | None
    project_clock: float
    job_reached: float | None
    limited: bool
    head: Planned
    seconds: float | None
    open: int


@dataclass(frozen=True, slots=True)
class Reached:
    """A row of turns: `job` 0 for a project, both 0 for the deployment's clock."""

    project: int
    job: int
    reached: float
    clock: float = 0.0


@dataclass(frozen=True, slots=True)
class Bound:
    """What a job has bound on a deployment and not sent, claimed or not: how far its service has
    come in the time of turns, None where nothing of it is due, and its last turn."""

    deployment: str
    job: int
    now: float | None
    last: float


async def backlog(conn: Connection, home: str, plans: Collection[int]) -> list[Waiting]:
    """Every job that has something planned on the deployment, by one of the plans, and may
    run."""
    params = {"home": home, "plans": [*plans]}
    rows = await (await conn.execute(SQL["backlog"], params)).fetchall()
    return [_waiting(*row) for row in rows]


def _waiting(job: int, *row: Any) -> Waiting:
    fields = [job, *row[:7], Planned(job, *row[7:14]), *row[14:]]
    return Waiting(*fields)


async def clock_of(conn: Connection, home: str) -> float:
    """The deployment's clock of projects; 0 before its first chunk."""
    row = await (await conn.execute(SQL["clock"], {"home": home})).fetchone()
    return float(row[0]) if row else 0.0


async def heads(
    conn: Connection, home: str, plans: Collection[int], depths: Mapping[int, int]
) -> list[Planned]:
    """The first chunks of the jobs that are planned on the deployment by one of the plans, as
    many as asked for of each."""
    params = {"home": home, "plans": [*plans], "jobs": [*depths], "depths": [*depths.values()]}
    return [Planned(*row) for row in await (await conn.execute(SQL["heads"], params)).fetchall()]


async def keep_turns(
    conn: Connection,
    home: str,
    rows: Iterable[Reached],
    waiting: Iterable[tuple[int, int]],
) -> None:
    """Writes the rows, and forgets all but what goes on waiting: (project, job) each, job 0 for
    a project."""
    listed = list(rows)
    await conn.execute(
        SQL["keep"],
        {
            "home": home,
            "projects": [row.project for row in listed],
            "jobs": [row.job for row in listed],
            "reached": [row.reached for row in listed],
            "clocks": [row.clock for row in listed],
        },
    )
    projects, jobs = zip(*pairs, strict=True) if (pairs := [*waiting]) else ((), ())
    params = {"home": home, "projects": [*projects], "jobs": [*jobs]}
    await conn.execute(SQL["forget"], params)


async def bound_turns(conn: Connection, deployments: list[str]) -> list[Bound]:
    """What is bound to the deployments and not sent."""
    rows = await (await conn.execute(SQL["bound"], {"deployments": deployments})).fetchall()
    return [Bound(*row) for row in rows]


async def last_turns(conn: Connection, deployments: list[str]) -> dict[str, float]:
    """The last turn that was given on each deployment."""
    cursor = await conn.execute(SQL["last_turns"], {"deployments": deployments})
    return dict(await cursor.fetchall())


async def keep_last_turns(conn: Connection, lasts: Mapping[str, float]) -> None:
    """For `last_turns` of the next dispatch."""
    params = {"deployments": [*lasts], "lasts": [*lasts.values()]}
    await conn.execute(SQL["keep_last"], params)
