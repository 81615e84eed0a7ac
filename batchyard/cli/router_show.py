"""`batchyard router show`."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.jobview import when
from batchyard.cli.modelview import model_json
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.show import out, plain
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT
from db.router_models import ModelLine, show_model

ModelName = Annotated[str, typer.Argument(help="The model's name.", metavar="MODEL")]


def show(
    model: ModelName,
    version: Annotated[
        int | None, typer.Argument(help="Default: the promoted one.", min=1, metavar="VERSION")
    ] = None,
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Show a router model: what it was trained on and with, and how well it did.

    \b
    Examples:
      batchyard router show tickets
      batchyard router show tickets 3 --json
    """
    line = ask_project(
        Home.from_env(), project, lambda conn, id_: show_model(conn, id_, model, version)
    )
    if as_json:
        put_json(model_json(line))
        return
    for text in _lines(line):
        out().print(text, soft_wrap=True)


def _lines(line: ModelLine) -> Iterator[Text]:
    title = Text.assemble((line.name, "bold"), f"  version {line.version}, for {line.task}")
    if line.promoted:
        title.append("  promoted", style="green")
    yield title
    yield Text(f"made {when(line.created_at)}, {plain(line.size)} bytes", style="dim")
    width = max((len(name) for name in line.info), default=0)
    for name, value in line.info.items():
        told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield Text(f"  {name:<{width}}  {told}")
