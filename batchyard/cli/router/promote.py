"""`batchyard router promote`."""

from typing import Annotated

import typer

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.output import JsonFlag, put_json, put_line
from batchyard.cli.router.show import ModelName
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT
from db.connect import Connection
from db.router_models import promote as promote_step


def promote(
    model: ModelName,
    version: Annotated[int, typer.Argument(help="Which of its versions.", min=1)],
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Let routes go by a version of a router model from now on, whatever its figures say.
    Training promotes by itself what is better than the version in use; this also goes back.

    \b
    Examples:
      batchyard router promote tickets 3
      batchyard router promote tickets 2 --project research
    """

    async def promoted(conn: Connection, project_id: int) -> None:
        await promote_step(conn, project_id, model, version)

    ask_project(Home.from_env(), project, promoted)
    if as_json:
        put_json({"name": model, "version": version, "promoted": True})
    else:
        put_line(f"{model}: routes go by version {version} now")
