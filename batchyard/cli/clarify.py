"""`batchyard clarify`."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project, run_interruptibly
from batchyard.cli.output import JsonFlag, put_json, put_line, put_note, write
from batchyard.cli.places import relative
from batchyard.cli.show import count
from batchyard.embedded.home import Home
from batchyard.producer import open_producer
from core.deadline import parse_deadline
from core.errors import InputError
from core.ids import DEFAULT_PROJECT, job_name, job_number
from db.projects import find_project
from tasks.clarify import Clarified, ToClarify, to_clarify
from tasks.clarify import clarify as clarify_step

COLUMNS = ("custom_id", "prompt", "question", "options", "answer")
Format = Literal["jsonl", "csv"]


def clarify(
    job: JobId,
    *,
    answers: Annotated[
        str | None, typer.Option("-a", "--answers", metavar="FILE", help="Send these on.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", dir_okay=False, help="Write to this file.")
    ] = None,
    kind: Annotated[
        Format | None, typer.Option("--format", help="How questions are written.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help="For the answers (default: the job's).")
    ] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Ask what a job's prompts left open, and send the answered ones on.

    Without --answers it writes the questions, one a line: the request's custom_id, the beginning
    of its prompt, the question, the intents it may have, and an empty answer. Fill in an
    option's number, an intent's name or words of your own, and hand the file in with --answers.
    What is answered goes to the model with its question and answer, as a job that is linked to
    this one: it is paid from its budget, and its results are this job's. What is left empty
    stays open.

    \b
    Examples:
      batchyard clarify job_12 -o questions.csv
      batchyard clarify job_12 --answers questions.csv
      batchyard clarify 12 | jq -c '.answer = "1"' | batchyard clarify 12 --answers - --json
    """
    number = job_number(job)
    if answers is None:
        found = ask_project(
            Home.from_env(), project, lambda conn, id_: to_clarify(conn, id_, number)
        )
        _put_questions(found, number, output, kind, as_json=as_json)
        return
    if output is not None or kind is not None:
        raise InputError("--output and --format are for questions. Leave them out with --answers")
    _tell(run_interruptibly(_sent_on(project, number, answers, deadline)), number, as_json=as_json)


def _put_questions(
    found: list[ToClarify], number: int, output: Path | None, kind: Format | None, *, as_json: bool
) -> None:
    table = kind == "csv" or (kind is None and output is not None and output.suffix == ".csv")
    text = _csv(found) if table else b"".join(msgspec.json.encode(one) + b"\n" for one in found)
    if output is None and as_json:
        put_json({"id": job_name(number), "questions": found})
        return
    if output is None:
        write(text)
    else:
        try:
            output.write_bytes(text)
        except OSError as error:
            raise InputError(
                f"{output} cannot be written: {error.strerror}. Name another"
            ) from error
    if as_json:
        put_json({"path": str(output), "questions": len(found)})
    elif output is not None:
        put_note(
            f"{count(len(found), 'question')} in {relative(output.resolve())}; fill in the "
            f"answers, then: batchyard clarify {job_name(number)} --answers {output}"
        )
    elif not found:
        put_note(f"{job_name(number)} asks nothing")


def _csv(found: Iterable[ToClarify]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in found:
        options = "; ".join(
            f"{n}: {option.intent}" + (f" ({option.description})" if option.description else "")
            for n, option in enumerate(one.options, start=1)
        )
        writer.writerow([one.custom_id, one.prompt, one.question, options, one.answer])
    return text.getvalue().encode()


async def _sent_on(project: str, number: int, answers: str, deadline: str | None) -> Clarified:
    until = None if deadline is None else parse_deadline(deadline)
    async with open_producer() as ctx:
        async with ctx.pool.connection() as conn:
            project_id = await find_project(conn, project)
        return await clarify_step(ctx, project_id, number, answers, until)


def _tell(done: Clarified, number: int, *, as_json: bool) -> None:
    linked = None if done.job_id is None else job_name(done.job_id)
    if as_json:
        put_json(
            {
                "id": linked,
                "parent_id": job_name(number),
                "answered": done.answered,
                "unanswered": done.unanswered,
                "unknown": done.unknown,
            }
        )
        return
    if linked is not None:
        put_line(linked)
        put_note(
            f"{count(done.answered, 'answer')} sent on; look: batchyard watch {linked}, then "
            f"batchyard results {job_name(number)}"
        )
    else:
        put_note("no answer was filled in, so nothing was sent on")
    if done.unanswered:
        put_note(f"{count(done.unanswered, 'question')} still open")
    if done.unknown:
        named = ", ".join(done.unknown[:5]) + (", …" if len(done.unknown) > 5 else "")
        put_note(f"nothing is asked about {named}: left out")
