"""Asking before something is gone for good."""

import sys

import typer

from core.errors import InputError


def confirm(question: str, *, as_json: bool) -> None:
    """Goes on only when people say yes. Raises typer.Abort when they do not, and InputError
    where nobody can be asked."""
    if as_json:
        raise InputError(f"{question} Nobody can be asked with --json: say --yes to do it")
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        typer.echo(err=True)
        raise InputError("nobody answered. Say --yes to do it without being asked")
    if answer.strip().lower() not in ("y", "yes"):
        raise typer.Abort
