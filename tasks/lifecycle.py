"""A user's hand on a job, and on those linked to it: pause them, cancel them, delete them."""

from core.errors import ConflictError
from core.ids import job_name
from core.status import JobStatus
from db.lifecycle import (
    HeldJob,
    delete_family,
    drop_unheld,
    hold_family,
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
    changed = await _set_paused(ctx, project_id, job_id, paused=True)
    # Only now that everybody sees it: nothing new is bound for these any more.
    async with ctx.pool.connection() as conn:
        for id_ in changed:
            await unbind_unheld(conn, id_)


async def resume(ctx: Context, project_id: int, job_id: int) -> None:
    """The paused job goes on with the next dispatch. Changes nothing where it is not paused.

    Raises NotFoundError, and ConflictError when the job is ending or has ended.
    """
    await _set_paused(ctx, project_id, job_id, paused=False)


async def _set_paused(ctx: Context, project_id: int, job_id: int, *, paused: bool) -> list[int]:
    """The jobs that it changed anything for."""
    async with ctx.pool.connection() as conn, conn.transaction():
        family = await hold_family(conn, project_id, job_id)
        going = [one for one in family if _goes_on(one)]
        if not going:
            raise ConflictError(
                f"{job_name(job_id)} is {family[0].status}, so it does not go on anyway"
            )
        changed = [one.id for one in going if one.paused != paused]
        for id_ in changed:
            await set_paused(conn, id_, paused=paused)
            await put_event(conn, id_, "paused" if paused else "resumed", {})
    return changed


def _goes_on(job: HeldJob) -> bool:
    return not job.status.terminal and job.status is not JobStatus.CANCELLING


async def cancel(ctx: Context, project_id: int, job_id: int) -> JobStatus:
    """Nothing more is sent for the job, nor for those linked to it; calls in flight end and are
    kept. Returns the status it has now: a second cancel changes nothing.

    Raises NotFoundError, and ConflictError when all of them have ended already.
    """
    async with ctx.pool.connection() as conn:
        async with conn.transaction():
            family = await hold_family(conn, project_id, job_id)
            going = [one.id for one in family if _goes_on(one)]
            status = family[0].status
            if not going and status in (JobStatus.CANCELLED, JobStatus.CANCELLING):
                return status
            if not going:
                raise ConflictError(
                    f"{job_name(job_id)} has ended already ({status}). Its results stay; "
                    f"`batchyard delete {job_name(job_id)}` removes them"
                )
            for id_ in going:
                await stop_job(conn, id_)
                await put_event(conn, id_, "cancelling", {})
        # Only now that everybody sees the stop: nothing new is planned for these any more.
        over = [id_ for id_ in going if await drop_unheld(conn, id_)]
    for id_ in over:
        await ring(ctx, "finish", id_)
    return status if status.terminal else JobStatus.CANCELLING


async def delete(ctx: Context, project_id: int, job_id: int) -> None:
    """Removes an ended job, and those linked to it, with their requests, results and attempts;
    what they spent stays in the project's account.

    Raises NotFoundError, and ConflictError while one of them runs, and for a job that is linked
    to another.
    """
    async with ctx.pool.connection() as conn, conn.transaction():
        family = await hold_family(conn, project_id, job_id)
        if (parent := family[0].parent_id) is not None:
            raise ConflictError(
                f"{job_name(job_id)} belongs to {job_name(parent)} and goes with it: "
                f"`batchyard delete {job_name(parent)}`"
            )
        for one in family:
            if not one.status.terminal:
                raise ConflictError(
                    f"{job_name(one.id)} is {one.status}. Cancel it first: "
                    f"`batchyard cancel {job_name(one.id)}`"
                )
        await delete_family(conn, family)
