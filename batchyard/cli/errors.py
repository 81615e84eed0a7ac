"""`batchyard errors`."""

from dataclasses import asdict
from typing import Any

from rich.text import Text

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import count, notes, out
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT, job_name, job_number
from core.money import usd_text
from db.connect import Connection
from db.stories import ErrorGroup, NotRun, closed_now, errors_by_class, not_run
from db.waits import Closed, told

Found = tuple[list[ErrorGroup], NotRun | None, list[Closed]]


def errors(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Show what went wrong in a job, by class of error: how many calls ended so, how many
    requests failed for it in the end, and samples; how many requests of a job that was stopped
    were not run, and why; and which of the deployments that it called are not open now.

    \b
    Examples:
      batchyard errors job_12
      batchyard errors 12 --json
    """
    number = job_number(job)

    async def look(conn: Connection, id_: int) -> Found:
        where = conn, id_, number
        return await errors_by_class(*where), await not_run(*where), await closed_now(*where)

    groups, left, closed = ask_project(Home.from_env(), project, look)
    if as_json:
        put_json(
            {
                "id": job_name(number),
                "errors": [_group_json(group) for group in groups],
                "not_run": _left_json(left) if left else None,
                "closed": [asdict(one) for one in closed],
            }
        )
        return
    for group in groups:
        _print(group)
    if left:
        out().print(
            Text.assemble(
                (left.stop, "bold"), f"  {count(left.requests, 'request')} not run: {left.why}"
            ),
            soft_wrap=True,
        )
    for one in closed:
        out().print(Text(told(one), style="yellow"), soft_wrap=True)
    if not groups and not left:
        notes().print("nothing went wrong")


def _group_json(group: ErrorGroup) -> dict[str, Any]:
    keys = ("custom_id", "deployment", "message")
    samples = [dict(zip(keys, one, strict=True)) for one in group.samples]
    fields = asdict(group) | {"samples": samples}
    return {"class": fields.pop("name"), **fields}


def _left_json(left: NotRun) -> dict[str, Any]:
    return {
        "outcome": left.stop,
        "requests": left.requests,
        "why": left.why,
        "budget_usd": usd_text(left.limit_nusd),
        "spent_usd": usd_text(left.spent_nusd),
        "cheapest_usd": usd_text(left.cheapest_nusd),
    }


def _print(group: ErrorGroup) -> None:
    console = out()
    counts = []
    if group.calls:
        counts.append(f"{count(group.calls, 'call')} of {count(group.requests, 'request')}")
    counts.append(f"{count(group.failed, 'request')} failed for it")
    console.print(Text.assemble((group.name, "bold"), "  ", ", ".join(counts)))
    for custom_id, deployment, message in group.samples:
        where = f" at {deployment}" if deployment else ""
        console.print(Text(f"    {custom_id}{where}: {message}"), soft_wrap=True)
