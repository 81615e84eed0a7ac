"""A job's end, and what the sweep looks for among jobs."""

from psycopg.types.json import Jsonb

from core.status import JobStatus, Stop
from db.connect import Connection, statements
from db.replies import take_replies

SQL = statements("finish")
STOPPED = {
    Stop.CANCELLED: "the job was cancelled",
    Stop.EXPIRED: "the job's deadline came first",
    Stop.BUDGET_EXHAUSTED: "the job's budget was spent",
}


async def end_job(conn: Connection, job_id: int) -> JobStatus | None:
    """Ends the job if none of its chunks is open, and lets go what waited for it at its parent;
    returns its terminal status, or None when it is not over or was ended before."""
    async with conn.transaction():
        row = await (await conn.execute(SQL["hold"], {"id": job_id})).fetchone()
        if row is None or JobStatus(row[0]).terminal or row[0] == JobStatus.VALIDATING:
            return None
        still = await (await conn.execute(SQL["open"], {"id": job_id})).fetchone()
        if still and still[0]:
            return None
        if row[1]:
            await take_replies(
                conn, part=row[3], job_id=job_id, round_=row[4], seqs=None, why=STOPPED[row[1]]
            )
        status = JobStatus(row[1]) if row[1] else JobStatus.COMPLETED
        await conn.execute(SQL["end"], {"id": job_id, "status": status})
        await conn.execute(SQL["let_go"], {"id": job_id})
        await conn.execute(SQL["score_again"], {"id": job_id})
        await conn.execute(
            SQL["event"], {"id": job_id, "kind": str(status), "data": Jsonb({"total": row[2]})}
        )
        return status


async def unfinished_jobs(conn: Connection) -> list[int]:
    """Jobs without an open chunk that have not ended."""
    return [row[0] for row in await (await conn.execute(SQL["unfinished"])).fetchall()]


async def drop_unsent(conn: Connection) -> None:
    """Stops jobs whose deadline has passed, and those that only serve a stopped one; drops what
    stopped jobs have not sent."""
    async with conn.transaction():
        await conn.execute(SQL["overdue"])
        await conn.execute(SQL["abandoned"])
        await conn.execute(SQL["drop_unsent"])
