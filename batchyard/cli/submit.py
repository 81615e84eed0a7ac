"""`batchyard submit`."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import run_interruptibly
from batchyard.cli.output import JsonFlag, put_json, put_line, put_note
from batchyard.cli.progress import Progress
from batchyard.cli.targets import offer_targets
from batchyard.embedded.home import Home
from batchyard.options import scoring_options, submit_options
from batchyard.producer import open_producer
from core.errors import InputError
from core.ids import DEFAULT_PROJECT, job_name
from core.lazy import lazy
from core.money import usd_about, usd_text
from tasks.intake.outlook import Outlook, outlook
from tasks.intake.sources import estimate_lines
from tasks.submit import SubmitOptions
from tasks.submit import submit as submit_step

if TYPE_CHECKING:
    from batchyard.cli import watch
else:
    watch = lazy("batchyard.cli.watch")

RouteOption = Annotated[
    str | None,
    typer.Option("-r", "--route", help="For lines without a model.", autocompletion=offer_targets),
]
Budget = Annotated[
    str | None, typer.Option("-b", "--budget", metavar="USD", help="Spend no more than this.")
]
Weight = Annotated[
    float, typer.Option(metavar="N", help="Among its project's jobs, 2 gets twice of 1.")
]
When = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="90m, 2h, 1d or a time; what is left then expires."),
]
Pairs = Annotated[
    list[str] | None, typer.Option("-m", "--metadata", metavar="K=V", help="May be repeated.")
]
JobName = Annotated[str, typer.Option(help="A name to know it by.")]
GoldOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Score answers beside this column of the metadata."),
]
ScorerOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="How: exact (default), choice, or choice:yes,no."),
]
PilotOption = Annotated[
    int | None, typer.Option(metavar="N", help="First try N requests on every candidate.")
]
PilotShare = Annotated[
    float, typer.Option(metavar="SHARE", help="What of the budget a pilot may come to.")
]
SkipBadLines = Annotated[
    bool, typer.Option("--skip-bad-lines", help="Keep the good; the bad are failed results.")
]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Watch it until it ends.")]


# One parameter an option.
def submit(  # noqa: PLR0913
    file: Annotated[str, typer.Argument(help="JSONL or CSV, or - for stdin.", metavar="FILE")],
    *,
    route: RouteOption = None,
    budget: Budget = None,
    project: ProjectOption = DEFAULT_PROJECT,
    weight: Weight = 1.0,
    deadline: When = None,
    name: JobName = "",
    metadata: Pairs = None,
    gold: GoldOption = None,
    scorer: ScorerOption = None,
    pilot: PilotOption = None,
    pilot_share: PilotShare = 0.2,
    skip_bad_lines: SkipBadLines = False,
    watch: Watch = False,
    as_json: JsonFlag = False,
) -> None:
    """Hand in a file of prompts, one JSON object a line; prints the job's id.

    Lines are OpenAI batch lines, or short: {"prompt": …} or {"messages": […]}, with an optional
    custom_id, and any field of the body beside them. A model may name a deployment, a model
    that one serves, or a route; fallbacks, timeout and metadata are for the yard. A file may be
    gzipped; a CSV has a column `prompt`, and what it does not know there is metadata. A file
    with bad lines is refused whole.

    Under a budget no call is made that could go beyond it, so the output limit counts: give
    max_tokens, or set the route's max_output. With --gold every answer is scored beside the
    right one in its own metadata, and routers learn from it. With --watch the exit code is that
    of `watch`.

    \b
    Examples:
      batchyard submit prompts.jsonl --budget 2.50 --watch
      batchyard submit questions.csv --gold label --scorer choice:spam,ham
      batchyard submit tickets.jsonl --route smart --gold label --pilot 500 --budget 20
      jq -c '{prompt: .text}' rows.json | batchyard submit - --project research --deadline 2h
    """
    options = submit_options(
        route=route,
        budget=budget,
        project=project,
        weight=weight,
        deadline=deadline,
        name=name,
        metadata=_pairs(metadata or []),
        scoring=scoring_options(gold, scorer, pilot, pilot_share),
        skip_bad_lines=skip_bad_lines,
    )
    _go(file, replace(options, how_to_skip="--skip-bad-lines"), watch=watch, as_json=as_json)


def _go(file: str, options: SubmitOptions, *, watch: bool, as_json: bool) -> None:
    number, ahead = _hand_in(file, options)
    if as_json:
        put_json({"id": job_name(number), **_ahead_json(ahead)})
    else:
        put_line(job_name(number))
        _say(job_name(number), ahead, options, watch=watch)
    if watch:
        _watch(options.project, number, as_json=as_json)


def _ahead_json(ahead: Outlook) -> dict[str, object]:
    told: dict[str, object] = {"requests": ahead.total, "refused": ahead.refused}
    if ahead.pilot is not None:
        told["pilot"] = ahead.pilot
    if ahead.bound_nusd is not None:
        told |= {"default_output": ahead.output, "bound_usd": usd_text(ahead.bound_nusd)}
    return told


def _say(job: str, ahead: Outlook, options: SubmitOptions, *, watch: bool) -> None:
    """What people should know before they go on."""
    if ahead.refused:
        lines = "1 line was" if ahead.refused == 1 else f"{ahead.refused:,} lines were"
        put_note(f"{lines} refused: batchyard errors {job}")
    if ahead.output is not None:
        put_note(f"requests without max_tokens may answer with up to {ahead.output:,} tokens")
    if ahead.pilot is not None and options.pilot is not None:
        less = f" of the {options.pilot.requests:,} asked for, as its share of the budget covers"
        whole = ahead.pilot >= options.pilot.requests
        put_note(f"a pilot tries {ahead.pilot:,} requests first{'' if whole else less}")
    if ahead.bound_nusd is not None and options.budget_nusd is not None:
        most = f"all calls together cost at most about ${usd_about(ahead.bound_nusd)}"
        over = ahead.bound_nusd > options.budget_nusd
        put_note(f"{most}{'; the budget may end the job before its last request' if over else ''}")
    if not watch:
        requests = "1 request" if ahead.total == 1 else f"{ahead.total:,} requests"
        put_note(f"{requests}; look: batchyard watch {job}, then batchyard results {job} -o FILE")


def _hand_in(file: str, options: SubmitOptions) -> tuple[int, Outlook]:
    """The job's number and what it may come to."""
    progress = Progress("reading", estimate_lines(file))

    async def submitted() -> tuple[int, Outlook]:
        async with open_producer() as ctx:
            number = await submit_step(ctx, file, options, progress)
            return number, await outlook(ctx, options.project, number)

    try:
        return run_interruptibly(submitted())
    except KeyboardInterrupt:
        progress.clear()
        put_note("interrupted: unless `batchyard jobs` shows the job, nothing was submitted")
        raise
    finally:
        progress.clear()


def _watch(project: str, number: int, *, as_json: bool) -> None:
    sys.stdout.flush()
    watch.watch_job(Home.from_env(), project, number, as_json=as_json)


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise InputError(f"--metadata {text!r} is no pair. Write key=value, e.g. team=nlp")
        pairs[key] = value
    return pairs
