"""`batchyard jobs` and `batchyard job`."""

from typing import Annotated

import typer
from rich.text import Text

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.jobview import JobPanel, cost_text, job_json, line_json, status_text, when
from batchyard.cli.means import means_json, means_told
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import notes, out, plain, table
from batchyard.embedded.home import Home
from core.errors import NotFoundError
from core.ids import DEFAULT_PROJECT, job_name, job_number
from db.connect import Connection
from db.jobs import JobLine, JobView, job_view, list_jobs
from db.scores import Scores, job_scores


def jobs(
    *,
    limit: Annotated[
        int, typer.Option("-n", "--limit", min=1, max=10_000, help="How many at most.")
    ] = 20,
    before: Annotated[str, typer.Option(help="Only jobs older than this one.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only those not ended.")] = False,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """List a project's jobs, the newest first, each with those linked to it below it.

    \b
    Examples:
      batchyard jobs
      batchyard jobs --active --project research
      batchyard jobs -n 100 --json
    """
    older_than = job_number(before) if before else None
    try:
        lines = ask_project(
            Home.from_env(),
            project,
            lambda conn, id_: list_jobs(conn, id_, limit=limit, before=older_than, active=active),
        )
    except NotFoundError:
        # The project comes with its first job.
        lines = []
    if as_json:
        put_json([line_json(line) for line in lines])
    elif lines:
        out().print(table(JOBS, [_row(line) for line in lines]))
    elif active:
        notes().print("no active jobs")
    else:
        notes().print("no jobs; hand one in with `batchyard submit FILE`")


JOBS = ("JOB", "STATUS", ">DONE", ">FAILED", ">TOTAL", ">COST", "ROUTE", "NAME", "CREATED")


def _row(line: JobLine) -> list[str | Text]:
    return [
        job_name(line.id) if line.parent_id is None else f"└ {job_name(line.id)}",
        status_text(line),
        plain(line.completed),
        plain(line.failed),
        plain(line.total),
        cost_text(line.cost_nusd, line.unpriced),
        line.route,
        line.name or line.source if line.parent_id is None else line.kind,
        when(line.created_at),
    ]


def job(job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False) -> None:
    """Show a job: its status, how far it is, its rate and when it should be done, what it
    cost, each deployment's share, and, while it waits, what for.

    \b
    Examples:
      batchyard job job_12
      batchyard job 12 --json
    """
    number = job_number(job)

    async def asked(conn: Connection, id_: int) -> tuple[JobView, Scores]:
        return await job_view(conn, id_, number), await job_scores(conn, id_, number)

    view, scores = ask_project(Home.from_env(), project, asked)
    if as_json:
        put_json(job_json(view) | {"scores": means_json(scores)})
        return
    out().print(JobPanel(view))
    for line in means_told(scores):
        out().print(line)
