"""A user's hand on a job: pause it, cancel it, delete it."""

from core.errors import ConflictError
from core.ids import job_name
from core.status import JobStatus
from db.lifecycle import (
    delete_job,
    drop_unheld,
    hold_job,
    put_event,
    set_paused,
    stop_job,
    unbind_unheld,
)
from tasks.bell import ring
from tasks.context import Context


async def pause(ctx: Context, project_id: int, job_id: int) -> None:
    """Nothing more is bound or sent for the job until it is resumed; calls in flight end and are
    kept. Its deadline stays. A second pause changes nothing.

    Raises NotFoundError, and ConflictError when the job is ending or has ended.
    """
    if await _set_paused(ctx, project_id, job_id, paused=True):
        # Only now that everybody sees it: nothing new is bound for the job any more.
        async with ctx.pool.connection() as conn:
            await unbind_unheld(conn, job_id)


async def resume(ctx: Context, project_id: int, job_id: int) -> None:
    """The paused job goes on with the next dispatch. Changes nothing where it is not paused.

    Raises NotFoundError, and ConflictError when the job is ending or has ended.
    """
    await _set_paused(ctx, project_id, job_id, paused=False)


async def _set_paused(ctx: Context, project_id: int, job_id: int, *, paused: bool) -> bool:
    """Whether that changed anything."""
    async with ctx.pool.connection() as conn, conn.transaction():
        held = await hold_job(conn, project_id, job_id)
        if held.status.terminal or held.status is JobStatus.CANCELLING:
            raise ConflictError(f"{job_name(job_id)} is {held.status}, so it does not go on anyway")
        if held.paused == paused:
            return False
        await set_paused(conn, job_id, paused=paused)
        await put_event(conn, job_id, "paused" if paused else "resumed", {})
    return True


async def cancel(ctx: Context, project_id: int, job_id: int) -> JobStatus:
    """Nothing more is sent for the job; calls in flight end and are kept. Returns the status it
    has now: a second cancel changes nothing.

    Raises NotFoundError, and ConflictError when the job has ended already.
    """
    async with ctx.pool.connection() as conn:
        async with conn.transaction():
            held = await hold_job(conn, project_id, job_id)
            if held.status in (JobStatus.CANCELLED, JobStatus.CANCELLING):
                return held.status
            if held.status.terminal:
                raise ConflictError(
                    f"{job_name(job_id)} has ended already ({held.status}). Its results stay; "
                    f"`batchyard delete {job_name(job_id)}` removes them"
                )
            await stop_job(conn, job_id)
            await put_event(conn, job_id, "cancelling", {})
        # Only now that everybody sees the stop: nothing new is planned for the job any more.
        over = await drop_unheld(conn, job_id)
    if over:
        await ring(ctx, "finish", job_id)
    return JobStatus.CANCELLING


async def delete(ctx: Context, project_id: int, job_id: int) -> None:
    """Removes an ended job with its requests, results and attempts; what it spent stays in the
    project's account.

    Raises NotFoundError, and ConflictError while the job runs.
    """
    async with ctx.pool.connection() as conn, conn.transaction():
        held = await hold_job(conn, project_id, job_id)
        if not held.status.terminal:
            raise ConflictError(
                f"{job_name(job_id)} is {held.status}. Cancel it first: "
                f"`batchyard cancel {job_name(job_id)}`"
            )
        await delete_job(conn, job_id, held)
