"""What may hold a job up, read for `db/waits.py`."""

from collections.abc import Sequence

from psycopg.rows import class_row

from core.status import JobStatus
from db.brakes import read_brakes
from db.connect import Connection, only_row, statements
from db.vitals import read_vitals
from db.waits import Closed, Standing, Waiting

SQL = statements("waiting")
RUNNING = (JobStatus.IN_PROGRESS, JobStatus.FINALIZING, JobStatus.CANCELLING)


async def standing_of(conn: Connection, job_id: int) -> list[Standing]:
    """The job's open chunks, by what they wait for."""
    async with conn.cursor(row_factory=class_row(Standing)) as cursor:
        return await (await cursor.execute(SQL["standing"], {"job_id": job_id})).fetchall()


async def candidates_of(conn: Connection, job_id: int) -> list[str]:
    """The deployments that may answer what is open in the job."""
    cursor = await conn.execute(SQL["candidates"], {"job_id": job_id})
    return [row[0] for row in await cursor.fetchall()]


async def closed_among(conn: Connection, deployments: Sequence[str]) -> list[Closed]:
    """Those of the deployments that are not simply open."""
    params = {"deployments": [*deployments]}
    async with conn.cursor(row_factory=class_row(Closed)) as cursor:
        return await (await cursor.execute(SQL["closed"], params)).fetchall()


async def waiting_for(
    conn: Connection,
    job_id: int,
    standing: Sequence[Standing],
    candidates: Sequence[str],
    linked: tuple[tuple[str, int], ...] = (),
) -> Waiting:
    """The facts on the job, as far as `standing` of it is concerned, which `candidates` may
    answer. `linked` are jobs that it may wait for, (kind, id)."""
    status, stop, paused, project, room, workers, controls, lanes, tickets = await only_row(
        conn, SQL["facts"], {"job_id": job_id}
    )
    return Waiting(
        running=JobStatus(status) in RUNNING,
        stop=stop,
        paused=paused,
        project=project,
        workers=workers,
        controls=controls,
        lanes=lanes,
        tickets=tickets,
        room_nusd=room,
        linked=linked,
        standing=tuple(standing),
        closed=tuple(await closed_among(conn, candidates)),
        braked=await read_brakes(conn),
        vitals=await read_vitals(conn),
    )
