"""`batchyard projects`."""

from batchyard.cli.database import ask
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import out, plain, table
from batchyard.embedded.home import Home
from db.projects import ProjectLine, list_projects

COLUMNS = ("PROJECT", ">WEIGHT", ">ACTIVE", ">JOBS", ">SPENT")


def projects(*, as_json: JsonFlag = False) -> None:
    """List the projects: what each weighs where they wait for the same deployment, its jobs,
    and what it has spent. Weights and limits stand under `projects` in batchyard.yaml.

    \b
    Examples:
      batchyard projects
      batchyard projects --json
    """
    lines = ask(Home.from_env(), list_projects)
    if as_json:
        put_json([_told(line) for line in lines])
    else:
        out().print(table(COLUMNS, [_row(line) for line in lines]))


def _told(line: ProjectLine) -> dict[str, object]:
    return {
        "project": line.name,
        "weight": line.weight,
        "active_jobs": line.active_jobs,
        "jobs": line.jobs,
        "spent_usd": line.spent_usd,
    }


def _row(line: ProjectLine) -> list[str]:
    counts = [plain(line.active_jobs), plain(line.jobs)]
    return [line.name, f"{line.weight:g}", *counts, f"${line.spent_usd}"]
