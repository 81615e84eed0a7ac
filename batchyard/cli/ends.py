"""`batchyard pause`, `resume`, `cancel` and `delete`."""

from typing import Annotated

import typer

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.confirm import confirm
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import count, notes
from batchyard.client import Job
from batchyard.client import job as find_job
from core.ids import DEFAULT_PROJECT


def pause(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Send nothing more of a job until it is resumed; calls in flight end and are kept. What
    it had bound makes way for others. Its deadline stays as it is.

    \b
    Examples:
      batchyard pause job_12
      batchyard resume job_12
    """
    found = find_job(job, project=project)
    found.pause()
    _tell_paused(found, "is paused; go on: batchyard resume", as_json=as_json)


def resume(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Go on with a paused job.

    \b
    Examples:
      batchyard resume job_12
      batchyard resume 12 --json
    """
    found = find_job(job, project=project)
    found.resume()
    _tell_paused(found, "goes on; look: batchyard watch", as_json=as_json)


def _tell_paused(job: Job, text: str, *, as_json: bool) -> None:
    if as_json:
        view = job.status()
        put_json({"id": job.id, "status": view.status, "paused": view.paused})
    else:
        notes().print(f"{job.id} {text} {job.id}")


def cancel(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Stop a job: nothing more is sent, calls in flight end and are kept. Its results stay.

    \b
    Examples:
      batchyard cancel job_12
      batchyard cancel 12 --json
    """
    found = find_job(job, project=project)
    found.cancel()
    if as_json:
        put_json({"id": found.id, "status": found.status().status})
    else:
        notes().print(f"{found.id} is stopping; what it has stays: batchyard results {found.id}")


def delete(
    job: JobId,
    *,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")] = False,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Remove an ended job with its requests, results and attempts. What it spent stays in the
    project's account. A job that runs has to be cancelled first. Asks, but for --yes.

    \b
    Examples:
      batchyard delete job_12
      batchyard delete 12 --yes --json
    """
    found = find_job(job, project=project)
    if not yes:
        view = found.status()
        size = count(view.total, "request")
        confirm(f"Remove {found.id} ({view.status}, {size}) and its results?", as_json=as_json)
    found.delete()
    if as_json:
        put_json({"id": found.id, "deleted": True})
    else:
        notes().print(f"{found.id} is gone")
