"""The dispatch step's reads and writes, and the tickets' rows."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from core.plan import Plan
from core.size import Size
from core.status import Back
from db.connect import Connection, statements
from db.copytext import array

SQL = statements("dispatch")
MOST_STUCK: Final = 2_000
"""Chunks that are planned again in one go."""


@dataclass(frozen=True, slots=True)
class Work:
    """Requests that are bound to a deployment, all of them and those due now, those that lanes
    hold and have not sent, and whether its pause has run out unnoticed."""

    total: int
    due: int
    held: int
    reopens: bool


@dataclass(frozen=True, slots=True)
class Stuck:
    """A chunk that is bound and unsent, or (`id` 0) all of a kind: `waited` are the seconds for
    which the first has been due, `size` that of the smallest."""

    plan: Plan
    plan_id: int
    candidate: int
    excluded: int
    among: str
    limited: bool
    waited: float
    size: int
    id: int = 0


class Binding(msgspec.Struct, frozen=True, gc=False):
    """Where a chunk goes, why (JSON), and its turn to be claimed, reckoned among a `crowd` of
    its project's weights; `bounds` in nano-dollars where they change."""

    id: int
    candidate: int
    deployment: str
    choice: str
    turn: float
    crowd: float = 1.0
    bounds: list[int] | None = None


async def take_turn(conn: Connection) -> bool:
    """Takes the yard's turn for this transaction; False when another dispatch has it."""
    return await (await conn.execute(SQL["take_turn"])).fetchone() is not None


async def stamp(conn: Connection) -> None:
    """This dispatch has done something; only when `take_turn` was True."""
    await conn.execute(SQL["stamp"])


async def waiting_work(conn: Connection, deployments: list[str]) -> dict[str, Work]:
    """What is bound, by deployment."""
    cursor = await conn.execute(SQL["work"], {"deployments": deployments})
    return {row[0]: Work(*row[1:]) for row in await cursor.fetchall()}


async def planned_work(conn: Connection) -> dict[str, dict[int, Plan]]:
    """The plans (by id) of the planned chunks, by the deployment at which they stand."""
    found: dict[str, dict[int, Plan]] = defaultdict(dict)
    for deployment, plan_id, body in await (await conn.execute(SQL["planned"])).fetchall():
        found[deployment][plan_id] = Plan.from_body(body)
    return found


async def mean_sizes(conn: Connection, ids: list[int]) -> dict[int, tuple[float, float]]:
    """By chunk the mean tokens of its requests, and the mean of their output limits."""
    cursor = await conn.execute(SQL["weigh"], {"ids": ids})
    return {row[0]: (row[1] or 0.0, row[2] or 0.0) for row in await cursor.fetchall()}


async def waiting_means(conn: Connection, deployments: list[str]) -> dict[str, tuple[float, float]]:
    """By deployment about what a request is that waits for it: its tokens, and its output limit.
    Nothing is said where nothing waits anywhere."""
    cursor = await conn.execute(SQL["waiting_means"], {"deployments": deployments})
    return {name: (tokens, outputs) for name, tokens, outputs in await cursor.fetchall()}


async def read_sizes(conn: Connection, ids: list[int]) -> dict[int, list[Size]]:
    """By chunk what bounds the costs of its requests."""
    cursor = await conn.execute(SQL["sizes"], {"ids": ids})
    return {
        row[0]: [Size(*one) for one in zip(*row[1:], strict=True)]
        for row in await cursor.fetchall()
    }


async def bind(conn: Connection, bindings: list[Binding]) -> int:
    """Binds planned chunks; how many there were still to bind."""
    places: dict[tuple[int, str, str], int] = {}
    numbers = [
        places.setdefault((one.candidate, one.deployment, one.choice), len(places) + 1)
        for one in bindings
    ]
    bounded = [(one.id, one.bounds) for one in bindings if one.bounds is not None]
    params = {
        "ids": array(one.id for one in bindings),
        "places": array(numbers),
        "turns": array(one.turn for one in bindings),
        "crowds": array(one.crowd for one in bindings),
        "candidates": [candidate for candidate, _, _ in places],
        "deployments": [deployment for _, deployment, _ in places],
        "choices": [choice for _, _, choice in places],
        "bounded": array(id_ for id_, _ in bounded),
        "bounds": [array(bounds) for _, bounds in bounded],
    }
    return (await conn.execute(SQL["bind"], params)).rowcount


@dataclass(frozen=True, slots=True)
class Piece:
    """Entries `first` to `last`, counted from 1, of the planned chunk `parent`. The pieces of a
    chunk follow upon each other from its beginning, and leave something of it."""

    parent: int
    first: int
    last: int


async def split(conn: Connection, pieces: list[Piece]) -> list[int]:
    """Makes planned chunks of the pieces; their ids."""
    cursor = await conn.execute(SQL["new_ids"], {"count": len(pieces)})
    ids = [row[0] for row in await cursor.fetchall()]
    params = {
        "ids": ids,
        "parents": [piece.parent for piece in pieces],
        "firsts": [piece.first for piece in pieces],
        "lasts": [piece.last for piece in pieces],
    }
    await conn.execute(SQL["split"], params)
    await conn.execute(SQL["trim"], params)
    return ids


async def stuck_chunks(
    conn: Connection,
    deployments: list[str],
    goes: Callable[[Stuck], bool],
    *,
    seconds: float = 0.0,
) -> list[Stuck]:
    """Locks chunks that are bound to the deployments and unsent, for so long or longer, and that
    go elsewhere: those that have waited for longest, up to `MOST_STUCK`. What does not go keeps
    nobody from being found, for only kinds that go are looked for."""
    where = {"deployments": deployments, "seconds": seconds}
    rows = await (await conn.execute(SQL["stuck"], where)).fetchall()
    kinds = [kind for row in rows if goes(kind := Stuck(Plan.from_body(row[0]), *row[1:]))]
    if not kinds:
        return []
    params = {
        "places": array(range(len(kinds))),
        "plans": array(kind.plan_id for kind in kinds),
        "candidates": array(kind.candidate for kind in kinds),
        "excluded": array(kind.excluded for kind in kinds),
        "among": [kind.among for kind in kinds],
        "limited": [kind.limited for kind in kinds],
        "most": MOST_STUCK,
    }
    found = await (await conn.execute(SQL["lock_stuck"], where | params)).fetchall()
    chunks = [
        replace(kinds[place], id=id_, waited=waited, size=size)
        for place, id_, waited, size in found
    ]
    return [chunk for chunk in chunks if goes(chunk)]


async def latest_chunks(conn: Connection, deployment: str, most: int) -> list[Stuck]:
    """The chunks that are bound to the deployment, due and unsent, and have the last turns there,
    the last first; lanes may have claimed them by now."""
    params = {"deployment": deployment, "most": most}
    rows = await (await conn.execute(SQL["latest"], params)).fetchall()
    bodies = {row[1]: row[0] for row in rows}
    plans = {plan_id: Plan.from_body(body) for plan_id, body in bodies.items()}
    return [Stuck(plans[row[1]], *row[1:]) for row in rows]


async def unbind(conn: Connection, ids: Iterable[int], reason: Back) -> None:
    """Plans the chunks again."""
    await conn.execute(SQL["unbind"], {"ids": list(ids), "reason": reason})


async def live_lanes(conn: Connection, provider: str, lost_after: float) -> int:
    """Lanes queued or running; those that are lost or whose process died are removed."""
    cursor = await conn.execute(SQL["live_lanes"], {"provider": provider, "lost_after": lost_after})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def issue_tickets(conn: Connection, provider: str, count: int) -> list[int]:
    """Rows for `count` new tickets; returns their ids."""
    cursor = await conn.execute(SQL["issue"], {"provider": provider, "count": count})
    return [row[0] for row in await cursor.fetchall()]


async def start_lane(conn: Connection, ticket: int, process_id: int) -> bool:
    """Whether the ticket was still good; it is running now. A process asks for a ticket
    again only when it did not hear the answer."""
    cursor = await conn.execute(SQL["start_lane"], {"id": ticket, "process_id": process_id})
    return await cursor.fetchone() is not None


async def end_lane(conn: Connection, ticket: int) -> None:
    """The lane's slice is over."""
    await conn.execute(SQL["end_lane"], {"id": ticket})
