"""Data to stdout as it is; JSON for scripts."""

import os
import sys
from typing import Annotated, Any

import msgspec
import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="JSON for scripts, on stdout.")]


class ReaderGoneError(Exception):
    """Whoever read our stdout has had enough (`batchyard results 1 | head`)."""


def write(data: bytes) -> None:
    """Bytes to stdout as they are. Raises ReaderGoneError."""
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def put_json(value: Any) -> None:
    """One JSON document on one line of stdout. Raises ReaderGoneError."""
    write(msgspec.json.encode(value) + b"\n")


def put_line(text: str) -> None:
    """One line of stdout. Raises ReaderGoneError."""
    write(f"{text}\n".encode())


def put_note(text: str) -> None:
    """One line on stderr, for people."""
    sys.stderr.write(f"{text}\n")


def put_error(text: str, details: tuple[str, ...] = ()) -> None:
    """`error: …` on stderr, red where that is wanted, and its details below it."""
    colour = None if "NO_COLOR" not in os.environ else False
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True, color=colour)
    typer.echo("\n  ".join((text, *details)), err=True)


def hush_stdout() -> None:
    """Nobody reads stdout any more: what is still buffered goes nowhere, silently."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
