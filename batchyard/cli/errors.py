"""`batchyard errors`."""

from dataclasses import asdict
from typing import Any

from rich.text import Text

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import notes, out, plain
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT, job_name, job_number
from db.connect import Connection
from db.stories import ErrorGroup, closed_now, errors_by_class
from db.waits import Closed, told


def errors(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Show what went wrong in a job, by class of error: how many calls ended so, how many
    requests failed for it in the end, and samples; and which of the deployments that it called
    are not open now, and why.

    \b
    Examples:
      batchyard errors job_12
      batchyard errors 12 --json
    """
    number = job_number(job)

    async def look(conn: Connection, id_: int) -> tuple[list[ErrorGroup], list[Closed]]:
        return await errors_by_class(conn, id_, number), await closed_now(conn, id_, number)

    groups, closed = ask_project(Home.from_env(), project, look)
    if as_json:
        told_groups = [_group_json(group) for group in groups]
        told_closed = [asdict(one) for one in closed]
        put_json({"id": job_name(number), "errors": told_groups, "closed": told_closed})
        return
    for group in groups:
        _print(group)
    for one in closed:
        out().print(Text(told(one), style="yellow"), soft_wrap=True)
    if not groups:
        notes().print("nothing went wrong")


def _group_json(group: ErrorGroup) -> dict[str, Any]:
    keys = ("custom_id", "deployment", "message")
    samples = [dict(zip(keys, one, strict=True)) for one in group.samples]
    fields = asdict(group) | {"samples": samples}
    return {"class": fields.pop("name"), **fields}


def _print(group: ErrorGroup) -> None:
    console = out()
    counts = []
    if group.calls:
        counts.append(f"{plain(group.calls)} calls of {plain(group.requests)} requests")
    counts.append(f"{plain(group.failed)} requests failed for it")
    console.print(Text.assemble((group.name, "bold"), "  ", ", ".join(counts)))
    for custom_id, deployment, message in group.samples:
        where = f" at {deployment}" if deployment else ""
        console.print(Text(f"    {custom_id}{where}: {message}"), soft_wrap=True)
