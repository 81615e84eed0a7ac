"""A job's beginning, its stop by a user, and its removal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from psycopg.types.json import Jsonb

from core.deadline import Deadline
from core.errors import InputError, NotFoundError
from core.status import JobStatus
from db.connect import Connection, only_row, statements
from db.parts import PARTITIONED, drop_part, is_own
from db.projects import Project, put_account

SQL = statements("lifecycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job whose requests have been read; `refused` of them failed at once. Money in
    nano-dollars; `deadline` is the database's time."""

    id: int
    project: Project
    part: int
    name: str
    route: str
    source: str
    config_digest: str
    metadata: Mapping[str, str]
    limit_nusd: int | None
    total: int
    refused: int
    weight: float = 1.0
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job whose row is locked for this transaction; `parent_id` where it is a linked one."""

    id: int
    status: JobStatus
    part: int
    account_id: int
    paused: bool
    parent_id: int | None


async def time_of(conn: Connection, deadline: Deadline) -> datetime:
    """The deadline by the database's clock. Raises InputError for one that has passed."""
    is_time = isinstance(deadline, datetime)
    params = {"at": deadline if is_time else None, "within": None if is_time else deadline}
    at, passed = await only_row(conn, SQL["time_of"], params)
    if passed:
        raise InputError(f"The deadline {at:%Y-%m-%d %H:%M:%S %Z} has passed. Name a later one")
    return cast(datetime, at)


async def next_job_id(conn: Connection) -> int:
    """An id for a job that is about to be written; call it outside of a transaction."""
    return await _one(conn, "next_job", {})


async def give_back_job_id(conn: Connection, job_id: int) -> None:
    """The job was not written: the next one gets its id, unless there is a later one already."""
    await conn.execute(SQL["give_back"], {"job_id": job_id})


async def put_job(conn: Connection, new: NewJob) -> None:
    """The job's row, in progress, and its account."""
    account = await put_account(conn, new.project.id, "job", new.limit_nusd, ref=str(new.id))
    params = {
        "job_id": new.id,
        "project_id": new.project.id,
        "account_id": account,
        "project_account_id": new.project.account_id,
        "part": new.part,
        "name": new.name,
        "metadata": Jsonb(dict(new.metadata)),
        "route": new.route,
        "source": new.source,
        "config_digest": new.config_digest,
        "total": new.total,
        "weight": new.weight,
        "deadline": new.deadline,
    }
    await conn.execute(SQL["put_job"], params)
    if new.refused:
        counted = {"job_id": new.id, "failed": new.refused}
        await conn.execute(SQL["count_refused"], counted)


async def put_event(conn: Connection, job_id: int, kind: str, data: Mapping[str, Any]) -> None:
    """A line in the job's history."""
    params = {"job_id": job_id, "kind": kind, "data": Jsonb(dict(data))}
    await conn.execute(SQL["put_event"], params)


async def hold_family(conn: Connection, project: int, job_id: int) -> list[HeldJob]:
    """Locks the rows of the job and, behind it, of those linked to it. Raises NotFoundError."""
    where = {"project_id": project, "job_id": job_id}
    rows = await (await conn.execute(SQL["hold_family"], where)).fetchall()
    if not rows:
        raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
    return [HeldJob(row[0], JobStatus(row[1]), *row[2:]) for row in rows]


async def stop_job(conn: Connection, job_id: int) -> None:
    """A held job is cancelling: nothing new is planned, bound or sent for it."""
    await conn.execute(SQL["stop_job"], {"job_id": job_id})


async def set_paused(conn: Connection, job_id: int, *, paused: bool) -> None:
    """A held job is paused, or goes on: while it is, nothing is bound or sent for it."""
    await conn.execute(SQL["set_paused"], {"job_id": job_id, "paused": paused})


async def unbind_unheld(conn: Connection, job_id: int) -> None:
    """Plans again what a paused job has bound and nobody holds."""
    await conn.execute(SQL["unbind_unheld"], {"job_id": job_id})


async def drop_unheld(conn: Connection, job_id: int) -> bool:
    """Closes a stopped job's chunks that nobody holds; True when that were all of them.

    In autocommit. First what is bound, which is little and in the way of others; then it waits for
    the route steps that are at work on the job, and sees what they planned. It waits for nobody
    else: a chunk that is being bound just now is left to the sweep.
    """
    await conn.execute(SQL["drop_bound"], {"job_id": job_id})
    await conn.execute(SQL["await_routes"], {"job_id": job_id})
    await conn.execute(SQL["drop_unheld"], {"job_id": job_id})
    return not await _one(conn, "is_open", {"job_id": job_id})


async def delete_family(conn: Connection, family: Sequence[HeldJob]) -> None:
    """Removes a held job and those linked to it with their rows, their account and that
    account's ledger lines. The project's account and ledger stay: the money was spent."""
    job = family[0]
    ids = [one.id for one in family]
    where = {"part": job.part, "job_ids": ids, "account_id": job.account_id}
    if is_own(job.part):
        await drop_part(conn, job.part)
    else:
        for table in PARTITIONED:
            await conn.execute(SQL[f"delete_rows_{table}"], where)
    for name in ("delete_jobs", "delete_ledger", "delete_account"):
        await conn.execute(SQL[name], where)


async def _one(conn: Connection, name: str, params: Mapping[str, Any]) -> int:
    return int((await only_row(conn, SQL[name], dict(params)))[0])
