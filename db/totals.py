"""The whole yard in numbers, told by one process."""

from dataclasses import dataclass

from db.connect import Connection, only_row, statements
from db.overview import Overview, overview

SQL = statements("totals")


@dataclass(frozen=True, slots=True)
class Totals:
    """One look: where everything stands, jobs by status, nano-dollars spent and reserved over
    all projects, and the calls of unknown end or price of the jobs that are kept."""

    overview: Overview
    jobs: dict[str, int]
    spent_nusd: int
    reserved_nusd: int
    unknown: int
    unpriced: int


async def totals(conn: Connection, process_id: int) -> Totals | None:
    """The numbers; None where another process tells them."""
    if (await only_row(conn, SQL["teller"], {}))[0] != process_id:
        return None
    jobs = await (await conn.execute(SQL["jobs"])).fetchall()
    spent, reserved = await only_row(conn, SQL["money"], {})
    unknown, unpriced = await only_row(conn, SQL["unknown"], {})
    return Totals(await overview(conn), dict(jobs), spent, reserved, unknown, unpriced)
