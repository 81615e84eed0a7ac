"""A group of commands that imports a command's module only when it is called."""

import importlib
from collections.abc import Mapping
from itertools import groupby
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typing_extensions import override

from batchyard.cli.registry import COMMANDS, Entry


def new_app() -> typer.Typer:
    """Plain text everywhere: it keeps examples as they are written, and starts fast."""
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )


def _load(name: str, entry: Entry) -> Any:
    found = getattr(importlib.import_module(f"batchyard.cli.{entry.module}"), entry.name)
    if isinstance(found, typer.Typer):
        command = get_command(found)
        command.name = name
        return command
    app = new_app()
    app.command(name)(found)
    return get_command(app)


class LazyGroup(TyperGroup):
    """Knows names and summaries from a table; loads what is called."""

    table: ClassVar[Mapping[str, Entry]] = COMMANDS

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = {
            name: TyperCommand(name, help=entry.summary, rich_markup_mode=None)
            for name, entry in self.table.items()
        }

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        entry = self.table.get(name or "")
        return name, _load(name, entry) if name and entry else command, rest

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for section, names in groupby(self.table, key=lambda name: self.table[name].section):
            with formatter.section(section):
                formatter.write_dl([(name, self.table[name].summary) for name in names])
