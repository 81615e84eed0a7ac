"""From an error to one line that names the remedy, and an exit code."""

import sys
from dataclasses import replace

import msgspec
import typer

from batchyard.cli.output import put_error
from batchyard.embedded.errors import EmbeddedError
from core.errors import (
    BatchyardError,
    ConfigError,
    InputError,
    LineProblem,
    NotFoundError,
    ServiceError,
)

FAILED, USAGE, UNREACHABLE = 1, 2, 3
MOST_PROBLEMS = 100

FAILURES = (BatchyardError, EmbeddedError, typer.TyperException, typer.Abort)


def exit_code(error: BaseException) -> int:
    """The code that an error ends the program with."""
    if isinstance(error, ConfigError | InputError | NotFoundError):
        return USAGE
    if isinstance(error, ServiceError | EmbeddedError):
        return UNREACHABLE
    if isinstance(error, typer.TyperException):
        return error.exit_code
    return FAILED


def report_failure(error: BaseException, *, as_json: bool) -> int:
    """Tells what went wrong on stderr, without a traceback; returns the exit code."""
    code = exit_code(error)
    message = _message(error)
    if as_json:
        _put_json(error, message)
    elif is_help(error):
        sys.stderr.write(f"{message}\n")
    elif message:
        put_error(message, _problems(error))
    return code


def _message(error: BaseException) -> str:
    if isinstance(error, typer.Abort):
        return "nothing done"
    if isinstance(error, typer.TyperException):
        hint = "" if is_help(error) else f" Try '{_path(error)} --help'"
        return f"{error.format_message().replace('Value error, ', '')}{hint}"
    return error.message if isinstance(error, InputError) else str(error)


def is_help(error: BaseException) -> bool:
    """Whether this is the help text of a program called without arguments."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _path(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "batchyard"


def _problems(error: BaseException) -> tuple[str, ...]:
    if not isinstance(error, InputError):
        return ()
    runs: list[list[LineProblem]] = []
    for problem in error.problems[:MOST_PROBLEMS]:
        if runs and replace(runs[-1][-1], line=runs[-1][-1].line + 1) == problem:
            runs[-1].append(problem)
        else:
            runs.append([problem])
    return tuple(_told(run) for run in runs)


def _told(run: list[LineProblem]) -> str:
    """One problem of one line, or of several in a row."""
    if len(run) == 1:
        return str(run[0])
    return str(run[0]).replace(f"line {run[0].line}", f"lines {run[0].line} to {run[-1].line}", 1)


def _put_json(error: BaseException, message: str) -> None:
    told: dict[str, object] = {"type": type(error).__name__, "message": message}
    if isinstance(error, InputError) and error.problems:
        told["problems"] = error.problems[:MOST_PROBLEMS]
    sys.stderr.write(msgspec.json.encode({"error": told}).decode() + "\n")
