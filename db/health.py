"""How deployments stand: read and written by workers, set by operators."""

from collections.abc import Sequence
from typing import Final

from core.status import Back, Cause, Condition, DeploymentStatus
from db.connect import Connection, only_row, statements

SQL = statements("health")

FIRST_COOLING: Final = 5.0
"""Seconds a deployment cools when its breaker opens; doubled each time that it does again."""
LONGEST_COOLING: Final = 120.0
CALM: Final = 300.0
"""Seconds it must have been open until its next cooling is a first one again."""
PAUSED: Final = "by an operator"


async def conditions(conn: Connection) -> dict[str, Condition]:
    """What is not open, by deployment. Cooling that is over has been ended before."""
    turned = await (await conn.execute(SQL["turn"])).fetchall()
    await _call_back(conn, [name for name, open_ in turned if open_])
    rows = await (await conn.execute(SQL["conditions"])).fetchall()
    return {
        name: Condition(
            DeploymentStatus(status), Cause(cause) if cause else None, reason, left, drained
        )
        for name, status, cause, reason, left, drained in rows
    }


async def trip(
    conn: Connection, deployments: Sequence[str], *, cause: Cause, reason: str, jitter: float
) -> list[str]:
    """Deployments that fail cool, longer each time; those that this closed. `jitter` is a
    factor about 1."""
    return await _changed(
        conn,
        "trip",
        deployments,
        cause=cause,
        reason=reason,
        jitter=jitter,
        first=FIRST_COOLING,
        longest=LONGEST_COOLING,
        calm=CALM,
    )


async def park(
    conn: Connection, deployments: Sequence[str], *, cause: Cause, reason: str, seconds: float
) -> list[str]:
    """They cool until a time that is known; those that this closed, or for longer."""
    return await _changed(conn, "park", deployments, cause=cause, reason=reason, seconds=seconds)


async def disable(
    conn: Connection, deployments: Sequence[str], *, cause: Cause, reason: str
) -> list[str]:
    """They are closed until an operator opens them; those that this closed."""
    return await _changed(conn, "disable", deployments, cause=cause, reason=reason)


async def heal(conn: Connection, deployments: Sequence[str]) -> list[str]:
    """A call to them went well: those that were probed are open."""
    return await _opened(conn, "heal", deployments)


async def probe(conn: Connection, deployments: Sequence[str]) -> list[str]:
    """Their server answers again: those that cooled for it are probed now."""
    return await _changed(conn, "probe", deployments)


async def pause(conn: Connection, deployments: Sequence[str]) -> None:
    """An operator takes them out: they send nothing, and lose what is bound to them."""
    params = {"deployments": list(deployments), "reason": PAUSED, "back": Back.CLOSED}
    async with conn.transaction():
        await conn.execute(SQL["pause"], params)
        await conn.execute(SQL["unbind"], params)


async def drain(conn: Connection, deployments: Sequence[str]) -> None:
    """An operator lets them finish: they send what is bound to them, and get nothing new."""
    await conn.execute(SQL["drain"], {"deployments": list(deployments)})


async def resume(conn: Connection, deployments: Sequence[str]) -> list[str]:
    """An operator opens them, whatever closed them; those that were not open."""
    return await _opened(conn, "resume", deployments)


async def due_check(conn: Connection, provider: str, every: float) -> bool:
    """Whether the provider's next health check is due, and falls to the caller."""
    cursor = await conn.execute(SQL["due_check"], {"provider": provider, "every": every})
    return await cursor.fetchone() is not None


async def checked(conn: Connection, provider: str, *, ok: bool) -> int:
    """Keeps a check's outcome; how many have failed in a row by now."""
    return int((await only_row(conn, SQL["checked"], {"provider": provider, "ok": ok}))[0])


async def _opened(conn: Connection, statement: str, deployments: Sequence[str]) -> list[str]:
    opened = await _changed(conn, statement, deployments)
    await _call_back(conn, opened)
    return opened


async def _call_back(conn: Connection, opened: Sequence[str]) -> None:
    """A short outage does not cost half a minute at the next candidate, which may be dearer: what
    is bound there and unsent is open to choice again."""
    if opened:
        await conn.execute(SQL["call_back"], {"deployments": list(opened), "back": Back.OPENED})


async def _changed(
    conn: Connection, statement: str, deployments: Sequence[str], **params: object
) -> list[str]:
    cursor = await conn.execute(SQL[statement], {"deployments": list(deployments), **params})
    return [row[0] for row in await cursor.fetchall()]
