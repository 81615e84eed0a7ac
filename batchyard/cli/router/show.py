"""`batchyard router show`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.text import Text

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.jobview import when
from batchyard.cli.modelview import model_json
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.savedview import signed, span_json
from batchyard.cli.show import out, plain
from batchyard.embedded.home import Home
from core.ids import DEFAULT_PROJECT, job_name, job_number
from core.lazy import lazy
from db.connect import Connection
from db.lessons import newest_job, sample_requests, told_intents
from db.router_models import ModelLine, show_model
from tasks.router.tags import prompt_and_tags

if TYPE_CHECKING:
    from routing.measuring import drift
    from tasks.router import reports
else:
    drift = lazy("routing.measuring.drift")
    reports = lazy("tasks.router.reports")

SAMPLE = 1000
"""Requests of a job that are looked at."""

ModelName = Annotated[str, typer.Argument(help="The model's name.", metavar="MODEL")]


def show(
    model: ModelName,
    version: Annotated[
        int | None, typer.Argument(help="Default: the promoted one.", min=1, metavar="VERSION")
    ] = None,
    *,
    job: Annotated[
        str | None,
        typer.Option("-j", "--job", metavar="JOB", help="Drift towards it (default: newest)."),
    ] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Show a router model: what it was trained on and with, how well it did, and how far a job has
    drifted from it. Of the requests: by the population stability index against those of its
    training, below 0.1 alike, above 0.25 train again. Of the answers, where they are scored: how
    good they were beside what the model foresaw.

    \b
    Examples:
      batchyard router show tickets
      batchyard router show tickets 3 --job 12 --json
    """

    async def asked(conn: Connection, project_id: int) -> tuple[ModelLine, Drift | None]:
        line = await show_model(conn, project_id, model, version)
        number = job_number(job) if job else await newest_job(conn, project_id)
        if "portrait" not in line.info or number is None:
            return line, None
        return line, await _look(conn, project_id, line, number)

    line, drifted = ask_project(Home.from_env(), project, asked)
    if as_json:
        told = drifted and {
            "job": job_name(drifted.job),
            "index": drifted.by_name,
            "ended": drifted.ended,
            "scores": drifted.scores and _scores_json(drifted.scores),
        }
        put_json(model_json(line) | {"drift": told})
        return
    for text in (*_lines(line), *(_drift(drifted) if drifted else ())):
        out().print(text, soft_wrap=True)


class Drift(NamedTuple):
    """How far a job's requests are from those of a training, by what was compared; which shares
    of them ended without a call, where intents are told apart; its answers' quality beside what
    was foreseen of it."""

    job: int
    by_name: dict[str, float]
    ended: dict[str, float]
    scores: "reports.ScoreDrift | None" = None


async def _look(conn: Connection, project_id: int, line: ModelLine, job: int) -> Drift:
    sample = await sample_requests(conn, project_id, job, SAMPLE)
    pairs = [prompt_and_tags(*one) for one in sample]
    then = line.info["portrait"]
    index = drift.drift(then, *map(list, zip(*pairs, strict=True)))
    if drift.INTENT not in index:
        scores = await reports.score_drift(conn, project_id, job, line.name)
        return Drift(job, index, {}, scores)
    told = await told_intents(conn, project_id, job)
    shares = {name: count / sum(told.values()) for name, count in told.items()}
    ended = {
        "out of scope": shares.get("out_of_scope", 0.0),
        "asked about": shares.pop("needs_clarification", 0.0),
    }
    del index[drift.INTENT]  # what requests say of themselves is not what the model told
    if told:
        index[drift.INTENT] = drift.stability(then["tags"][drift.INTENT], shares)
    return Drift(job, index, ended if told else {})


def _drift(drifted: Drift) -> Iterator[Text]:
    yield Text(f"drift, {job_name(drifted.job)} against the training", style="bold")
    for name, index in drifted.by_name.items():
        yield Text(f"  {name}: {index:.3f}, {drift.verdict(index)}")
    for name, share in drifted.ended.items():
        yield Text(f"  {name}: {share:.1%} of its requests")
    if drifted.scores:
        told = drifted.scores.outcome
        yield Text(
            f"  quality: foreseen {told.foreseen:.3f} by {drifted.scores.model}, measured "
            f"{told.measured:.3f} by {drifted.scores.scorer}, {signed(told.gap)} on "
            f"{plain(told.answers)} answers: {told.verdict}"
        )


def _scores_json(scores: "reports.ScoreDrift") -> dict[str, object]:
    told = scores.outcome
    return {
        "model": scores.model,
        "scorer": scores.scorer,
        "answers": told.answers,
        "foreseen": told.foreseen,
        "measured": told.measured,
        **span_json("gap", told.gap),
        "verdict": told.verdict,
    }


def _lines(line: ModelLine) -> Iterator[Text]:
    title = Text.assemble((line.name, "bold"), f"  version {line.version}, for {line.task}")
    if line.promoted:
        title.append("  promoted", style="green")
    yield title
    yield Text(f"made {when(line.created_at)}, {plain(line.size)} bytes", style="dim")
    told = {name: value for name, value in line.info.items() if name != "portrait"}
    width = max(map(len, told), default=0)
    for name, value in told.items():
        if value is not None:
            yield Text(f"  {name:<{width}}  {_shown(value)}")


def _shown(value: object) -> str:
    """As people read it: `tiny 0.6667, mid 0.8167`."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if isinstance(value, list):
        between = "; " if any(isinstance(one, dict) for one in value) else ", "
        return between.join(map(_shown, value)) or "none"
    return str(value)
