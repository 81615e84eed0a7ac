"""The dispatch step's reads and writes, and the tickets' rows."""

from dataclasses import dataclass

from db.connect import Connection, statements
from db.health import turn

SQL = statements("dispatch")


@dataclass(frozen=True, slots=True)
class Work:
    """What waits for a deployment: whether chunks wait to be bound, requests that are bound
    (all of them, and those due now), and whether its pause has run out unnoticed."""

    planned: bool
    total: int
    due: int
    reopens: bool


async def hold_provider(conn: Connection, provider: str) -> bool:
    """Takes the provider's row for this transaction; False when another dispatch has it."""
    held = await conn.execute(SQL["hold_provider"], {"provider": provider})
    if await held.fetchone() is None:
        # Somebody has it, or the provider is new.
        await conn.execute(SQL["lock_provider"], {"provider": provider})
        held = await conn.execute(SQL["hold_provider"], {"provider": provider})
        return await held.fetchone() is not None
    return True


async def stamp_provider(conn: Connection, provider: str) -> None:
    """This dispatch has done something; only when `hold_provider` was True."""
    await conn.execute(SQL["stamp_provider"], {"provider": provider})


async def waiting_work(conn: Connection, deployments: list[str]) -> dict[str, Work]:
    """What waits, by deployment."""
    cursor = await conn.execute(SQL["work"], {"deployments": deployments})
    return {row[0]: Work(*row[1:]) for row in await cursor.fetchall()}


async def bind(conn: Connection, turns: dict[int, float]) -> int:
    """Binds planned chunks, by id, each with its turn; returns how many were bound."""
    cursor = await conn.execute(SQL["bind"], {"ids": [*turns], "turns": [*turns.values()]})
    return cursor.rowcount


async def observed_rate(conn: Connection, deployment: str) -> float:
    """Attempts a second on this deployment over its present jobs."""
    row = await (await conn.execute(SQL["rate"], {"deployment": deployment})).fetchone()
    return float(row[0]) if row else 0.0


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


async def closed_deployments(conn: Connection) -> set[str]:
    """Deployments that get no new work now."""
    return {row[0] for row in await (await conn.execute(SQL["closed_deployments"])).fetchall()}


async def reopen_deployments(conn: Connection) -> None:
    """Ends the cooling that is over."""
    await turn(conn)
