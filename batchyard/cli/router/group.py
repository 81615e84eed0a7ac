"""`batchyard router`: a group whose commands have a file each, imported when called."""

from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typing_extensions import override

from batchyard.cli.lazy import LazyGroup
from batchyard.cli.registry import ROUTER_COMMANDS, Entry
from core.errors import InputError


class RouterGroup(LazyGroup):
    """The commands of the router."""

    table: ClassVar[Mapping[str, Entry]] = ROUTER_COMMANDS

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """`train --from results` is `learn`: what it takes has nothing to do with files."""
        if args[:1] == ["train"] and "--from" in args:
            at = args.index("--from")
            if args[at + 1 : at + 2] != ["results"]:
                raise InputError("--from takes `results`: the scored answers of your jobs")
            args = ["learn", *args[1:at], *args[at + 2 :]]
        return super().resolve_command(ctx, args)


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
