"""`batchyard results`."""

import os
from contextlib import aclosing, nullcontext
from gzip import GzipFile
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.output import JsonFlag, put_json, put_note, write
from batchyard.cli.places import relative
from batchyard.cli.progress import Progress
from batchyard.embedded.home import Home
from core.errors import InputError
from core.ids import DEFAULT_PROJECT, job_number
from db.connect import Connection
from db.results import stream_results


def results(
    job: JobId,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", dir_okay=False, help="Write to this file.")
    ] = None,
    kind: Annotated[
        Literal["jsonl", "csv"], typer.Option("--format", help="How lines are written.")
    ] = "jsonl",
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Fetch a job's results in the order of its input: OpenAI's batch output lines with a
    `batchyard` object each, or CSV. While the job runs, those that are there.

    Lines go to stdout, or with -o to a file that appears once it is whole, compressed where its
    name ends in .gz. --json makes no difference on stdout; with -o it tells the path and the
    number of lines.

    \b
    Examples:
      batchyard results job_12 -o answers.jsonl
      batchyard results 12 --format csv > answers.csv
      batchyard results 12 | head -1 | jq .batchyard
    """
    number, home = job_number(job), Home.from_env()
    if output is None:
        ask_project(home, project, lambda conn, id_: _to_stdout(conn, id_, number, kind))
        return
    path, progress = output, Progress("writing", None)
    try:
        ask_project(
            home, project, lambda conn, id_: _to_file(conn, id_, number, kind, path, progress)
        )
    except KeyboardInterrupt:
        progress.clear()
        put_note(f"interrupted: {relative(output.resolve())} is as it was")
        raise
    finally:
        progress.clear()
    if as_json:
        put_json({"path": str(output), "lines": progress.lines})
    else:
        put_note(f"{progress.lines:,} results in {relative(output.resolve())}")


Format = Literal["jsonl", "csv"]


async def _to_stdout(conn: Connection, project: int, number: int, kind: Format) -> None:
    # Closed here, while the connection is still there, when the reader has had enough.
    stream = stream_results(conn, project, number, kind)
    async with aclosing(stream) as blocks:
        async for block in blocks:
            write(block)


async def _to_file(
    conn: Connection, project: int, number: int, kind: Format, path: Path, progress: Progress
) -> None:
    """Writes beside the file first, so that nobody takes half of it for the whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file, _packed(file, path) as target:
            async for block in stream_results(conn, project, number, kind, progress):
                target.write(block)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}. Name another") from error
    finally:
        draft.unlink(missing_ok=True)


def _packed(file: BinaryIO, path: Path) -> GzipFile | nullcontext[BinaryIO]:
    """The file, or gzip's way into it where its name says so."""
    return (
        GzipFile(fileobj=file, mode="wb", filename="")
        if path.suffix == ".gz"
        else nullcontext(file)
    )
