"""`batchyard cancel` and `batchyard delete`."""

from typing import Annotated

import typer

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import notes
from batchyard.client import job as find_job
from core.errors import InputError
from core.ids import DEFAULT_PROJECT


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
    project's account. A job that runs has to be cancelled first.

    \b
    Examples:
      batchyard delete job_12
      batchyard delete 12 --yes --json
    """
    found = find_job(job, project=project)
    if as_json and not yes:
        raise InputError("nobody can be asked with --json. Say --yes to delete without asking")
    if not yes:
        view = found.status()
        question = f"Remove {found.id} ({view.status}, {view.total} requests) and its results?"
        typer.confirm(question, abort=True, err=True)
    found.delete()
    if as_json:
        put_json({"id": found.id, "deleted": True})
    else:
        notes().print(f"{found.id} is gone")
