"""`batchyard router list`."""

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.jobview import when
from batchyard.cli.modelview import figures, model_json, names_of
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import notes, out, plain, table
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT
from db.router_models import ModelLine, list_models

COLUMNS = ("MODEL", ">VERSION", "TASK", "", "CHOOSES AMONG", ">TRAINED ON", "FIGURES", "MADE")


def list_(*, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False) -> None:
    """List the project's router models: every training is a version, and routes go by the
    promoted one.

    \b
    Examples:
      batchyard router list
      batchyard router list --project research --json
    """
    lines = ask_project(Home.from_env(), project, list_models)
    if as_json:
        put_json([model_json(line) for line in lines])
    elif not lines:
        notes().print("no models; train one with `batchyard router train`")
    else:
        out().print(table(COLUMNS, [_row(line) for line in lines]))


def _row(line: ModelLine) -> list[str]:
    rows = line.info.get("rows")
    return [
        line.name,
        str(line.version),
        line.task,
        "promoted" if line.promoted else "",
        names_of(line),
        plain(rows) if isinstance(rows, int) else "-",
        figures(line),
        when(line.created_at),
    ]
