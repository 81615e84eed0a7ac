"""The program: its options, and what becomes of an error."""

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from typer.main import get_command

from batchyard.cli.failure import FAILURES, report_failure
from batchyard.cli.lazy import LazyGroup
from batchyard.cli.output import ReaderGoneError, hush_stdout

BROKEN_PIPE = 141

app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def _show_version(asked: bool) -> None:
    if not asked:
        return
    try:
        typer.echo(f"batchyard {version('batchyard')}")
    except PackageNotFoundError:
        typer.echo("batchyard (from a folder, not installed)")
    raise typer.Exit


@app.callback()
def batchyard(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which."),
    ] = False,
) -> None:
    """A marshalling yard for LLM batches: hand in a file of prompts, get back exactly one
    result for each, and a ledger that adds up.

    \b
    Examples:
      batchyard up -d                          start the yard in the background
      batchyard submit prompts.jsonl --watch   send a file through it
      batchyard results 1 -o answers.jsonl     fetch the answers

    \b
    Every command takes --json for scripts; errors are then JSON on stderr:
      {"error": {"type": ..., "message": ...}}

    \b
    Exit codes:
      0  done
      1  a check failed, or a watched job was not answered in full
      2  wrong usage, configuration or input
      3  the yard, or a service it needs, cannot be reached

    \b
    Environment:
      BATCHYARD_HOME          the state folder (default: .batchyard here)
      BATCHYARD_CONFIG        the configuration file
      BATCHYARD_PROJECT       the project, where --project does not name one
      BATCHYARD_DATABASE_URL  your own Postgres instead of the embedded one
      BATCHYARD_BROKER_URL    your own broker instead of the embedded one
      BATCHYARD_LIMITER_URL   a Redis for the limits, where the broker is none
      BATCHYARD_LOG_LEVEL     debug, info, warning or error
    """


def run(argv: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        code = get_command(app).main(args=argv, prog_name="batchyard", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGoneError):
        hush_stdout()
        return BROKEN_PIPE
    except FAILURES as error:
        return report_failure(error, as_json="--json" in argv)
    return code if isinstance(code, int) else 0


def main() -> None:
    """The entry point of the program."""
    sys.exit(run(sys.argv[1:]))
