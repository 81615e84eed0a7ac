"""`batchyard router`: a group whose commands have a file each, imported when called."""

from collections.abc import Mapping
from typing import ClassVar

import typer

from batchyard.cli.lazy import LazyGroup
from batchyard.cli.registry import ROUTER_COMMANDS, Entry


class RouterGroup(LazyGroup):
    """The commands of the router."""

    table: ClassVar[Mapping[str, Entry]] = ROUTER_COMMANDS


app = typer.Typer(
    cls=RouterGroup,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.callback()
def router() -> None:
    """What chooses among the candidates of a route: trained on judged prompts, measured on
    others, kept in versions.

    \b
    Examples:
      batchyard router train --data judged.parquet --task choice --out tickets.router
      batchyard router eval --model tickets.router --data others.parquet --json
    """
