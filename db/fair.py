"""What fair order needs to know of the yard, and keeps there between two dispatches."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from core.plan import USUAL
from db.connect import Connection, statements
from db.copytext import array

SQL = statements("fair")

MOST_URGENT: Final = 8.0
"""How many times its weight a job may get among its project's jobs to keep its deadline."""

MOST_URGENT_PROJECT: Final = 2.0
"""The same for its project among projects: what others are due is not for a deadline to take."""

FEW_PROBES: Final = 100
"""Looks into the index by job and plan, up to which newcomers are looked for one by one."""

Gone = tuple[str, int]
"""A deployment, and a job of which nothing waits there."""


class Planned(msgspec.Struct, frozen=True, gc=False):
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


class NextJob(msgspec.Struct, frozen=True, gc=False):
    """A job whose turn comes next on a deployment. Weights are those of now: heavier where a
    deadline would not be kept otherwise. `head` is the size of its next chunk when that was last
    looked at; `limited` says that a budget limits it."""

    job: int
    project: int
    project_weight: float
    job_weight: float
    project_reached: float
    project_clock: float
    job_reached: float
    head: int
    limited: bool


class Reached(msgspec.Struct, frozen=True, gc=False):
    """A row of turns: `job` 0 for a project, both 0 for the deployment's clock; `head` is the
    size of a job's next chunk."""

    home: str
    project: int
    job: int
    reached: float
    clock: float = 0.0
    head: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """What a job has bound on a deployment and not sent, claimed or not, of the turns that were
    reckoned among one `crowd` of its project's weights: how far its service has come in the time
    of turns, None where nothing of it is due, and its last turn."""

    deployment: str
    job: int
    project: int
    weight: float
    crowd: float
    now: float | None
    last: float


async def clocks_of(conn: Connection, homes: Collection[str]) -> dict[str, float]:
    """The deployments' clocks of projects, of those that have served a chunk."""
    return dict(await (await conn.execute(SQL["clocks"], {"homes": [*homes]})).fetchall())


async def let_in(conn: Connection, home: str, plans: Collection[int], *, clock: float) -> None:
    """Gives the jobs a turn that are planned on the deployment by one of the plans and have none
    yet; `clock` is the deployment's."""
    params = {"home": home, "plans": [*plans], "clock": clock, "few": FEW_PROBES}
    await conn.execute(SQL["arrive"], params)


async def next_jobs(
    conn: Connection,
    home: str,
    *,
    rate: float,
    room: int,
    seen: Collection[int] = (),
    full: Collection[int] = (),
) -> list[NextJob]:
    """The jobs that come first among those that wait on the deployment, without the `seen` ones
    and those of `full` projects: as many as fill a room for so many requests, with one chunk
    each. `rate` in requests a second is what the deployment does, 0 where nobody knows.

    A job gets `open / seconds left / its share of the rate` times its weight, from 1 to
    MOST_URGENT, and its project as much of that as MOST_URGENT_PROJECT allows."""
    params = {
        "home": home,
        "rate": rate,
        "room": room,
        "seen": array(seen),
        "full": array(full),
        "most_job": MOST_URGENT,
        "most_project": MOST_URGENT_PROJECT,
    }
    return [NextJob(*row) for row in await (await conn.execute(SQL["next"], params)).fetchall()]


async def heads(
    conn: Connection, home: str, plans: Collection[int], depths: Mapping[int, int]
) -> list[Planned]:
    """The first chunks of the jobs that are planned on the deployment by one of the plans, as
    many as asked for of each."""
    jobs, deep = array(depths), array(depths.values())
    params = {"home": home, "plans": [*plans], "jobs": jobs, "depths": deep}
    return [Planned(*row) for row in await (await conn.execute(SQL["heads"], params)).fetchall()]


async def keep_turns(
    conn: Connection, homes: Collection[str], rows: Iterable[Reached], gone: Iterable[Gone]
) -> None:
    """Writes the rows, and forgets who does not wait at these deployments any more: the `gone`,
    and whoever is stopped, paused or at its end."""
    listed, leaving = list(rows), list(gone)
    places = {home: place for place, home in enumerate(homes, 1)}
    kept = {
        "homes": [*places],
        "places": array(places[row.home] for row in listed),
        "projects": array(row.project for row in listed),
        "jobs": array(row.job for row in listed),
        "reached": array(row.reached for row in listed),
        "clocks": array(row.clock for row in listed),
        "heads": array(row.head for row in listed),
    }
    await conn.execute(SQL["keep"], kept)
    params = {
        "homes": [*places],
        "gone_homes": [home for home, _ in leaving],
        "gone": array(job for _, job in leaving),
    }
    if (await conn.execute(SQL["forget"], params)).rowcount:
        await conn.execute(SQL["forget_projects"], params)


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
