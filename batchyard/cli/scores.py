"""`batchyard scores`: a job's scores, and `import` below it."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from batchyard.cli.complete import JobId, ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.means import means, means_json
from batchyard.cli.output import JsonFlag, put_json, put_note
from batchyard.cli.show import count, out, plain, table
from batchyard.embedded.home import Home
from batchyard.judged.scores import read_scores
from core.ids import DEFAULT_PROJECT, job_name, job_number
from db.connect import Connection
from db.scores import Scores, job_scores
from tasks.scores import IMPORTED, put_given

COLUMNS = ("SCORER", "DEPLOYMENT", ">ANSWERS", ">MEAN", ">95 % FROM", ">TO")


class _ShowsByDefault(TyperGroup):
    """`batchyard scores JOB` is `batchyard scores show JOB`."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["show", *args])


app = typer.Typer(
    cls=_ShowsByDefault, rich_markup_mode=None, add_completion=False, no_args_is_help=True
)


@app.callback()
def scores() -> None:
    """What a job's answers are worth, from 0 to 1: scored beside right answers (`submit
    --gold`), or by people.

    \b
    Examples:
      batchyard scores 12                     sums up, by scorer and deployment
      batchyard scores import 12 judged.csv   takes in what people judged
    """


@app.command()
def show(
    job: JobId, *, project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False
) -> None:
    """Sum up a job's scores, by scorer and by who answered, with intervals of 95 %.

    \b
    Examples:
      batchyard scores 12
      batchyard scores job_12 --json
    """
    number = job_number(job)
    found = ask_project(Home.from_env(), project, lambda conn, id_: job_scores(conn, id_, number))
    if as_json:
        put_json(scores_json(number, found))
        return
    out().print(table(COLUMNS, _rows(found)))
    for note in _notes(job_name(number), found):
        put_note(note)


@app.command(name="import")
def import_(
    job: JobId,
    file: Annotated[str, typer.Argument(help="CSV, JSONL or Parquet, or - for stdin.")],
    *,
    scorer: Annotated[
        str, typer.Option(metavar="NAME", help="Who judged, where the file does not say.")
    ] = IMPORTED,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Take in scores of a job's answers: custom_id, score from 0 to 1, and perhaps scorer, in
    each line. They take the place of what the same scorer said before. A file with bad lines is
    refused whole.

    \b
    Examples:
      batchyard scores import 12 judged.csv --scorer anna
      jq -c '{custom_id: .id, score: .ok}' judged.json | batchyard scores import 12 -
    """
    number = job_number(job)

    async def imported(conn: Connection, project_id: int) -> int:
        return await put_given(conn, project_id, number, read_scores(file), scorer)

    kept = ask_project(Home.from_env(), project, imported)
    if as_json:
        put_json({"id": job_name(number), "scores": kept})
    else:
        put_note(f"{count(kept, 'score')} of {job_name(number)} kept")


def scores_json(number: int, found: Scores) -> dict[str, Any]:
    """For scripts; means are null where nothing is scored."""
    return {
        "id": job_name(number),
        "gold": found.gold,
        "scorer": found.scorer,
        "complete": found.complete,
        "answers": found.answers,
        "scores": means_json(found),
    }


def _rows(found: Scores) -> Iterable[list[str]]:
    for name, deployment, mean in means(found):
        who = "all" if deployment is None else deployment or "-"
        figures = [f"{figure:.3f}" for figure in (mean.mean, mean.low, mean.high)]
        yield [name if deployment is None else "", who, plain(mean.count), *figures]


def _notes(job: str, found: Scores) -> Iterable[str]:
    if not found.sums and found.gold is None:
        yield f"{job} has no scores. Submit with --gold, or: batchyard scores import {job} FILE"
    elif not found.complete:
        yield f"scored beside {found.gold!r} as answers come in"
