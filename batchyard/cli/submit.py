"""`batchyard submit`."""

import sys
from typing import Annotated

import typer

from batchyard.cli.complete import ProjectOption
from batchyard.cli.output import JsonFlag, put_json, put_line
from batchyard.cli.show import notes, plain
from batchyard.cli.targets import offer_targets
from batchyard.cli.watch import watch_job
from batchyard.client import submit as hand_in
from batchyard.embedded.home import Home
from core.errors import InputError
from core.ids import DEFAULT_PROJECT, job_number

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


# One parameter an option.
def submit(  # noqa: PLR0913
    file: Annotated[str, typer.Argument(help="JSONL, or - for stdin.", metavar="FILE")],
    *,
    route: Annotated[
        str | None,
        typer.Option(
            "-r", "--route", help="For lines without a model.", autocompletion=offer_targets
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("-b", "--budget", metavar="USD", help="Spend no more than this.")
    ] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    weight: Weight = 1.0,
    deadline: When = None,
    name: Annotated[str, typer.Option(help="A name to know it by.")] = "",
    metadata: Pairs = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Keep the good; the bad are failed results.")
    ] = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Watch it until it ends.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Hand in a file of prompts, one JSON object a line; prints the job's id.

    Lines are OpenAI batch lines, or short: {"prompt": …} or {"messages": […]}, with an optional
    custom_id and metadata, and any field of the body beside them. A model may name a
    deployment, a model that one serves, or a route. A file with bad lines is refused whole,
    and nothing is kept.

    \b
    Examples:
      batchyard submit prompts.jsonl --budget 2.50 --watch
      batchyard submit prompts.jsonl --route cheap --name tuesday -m team=nlp
      batchyard submit prompts.jsonl --project research --weight 2 --deadline 2h
      jq -c '{prompt: .text}' rows.json | batchyard submit - --json
    """
    job = hand_in(
        file,
        route=route,
        budget=budget,
        project=project,
        weight=weight,
        deadline=deadline,
        name=name,
        metadata=_pairs(metadata or []),
        skip_bad_lines=skip_bad_lines,
    )
    if as_json:
        put_json({"id": job.id})
    else:
        put_line(job.id)
    if watch:
        sys.stdout.flush()
        watch_job(Home.from_env(), project, job_number(job.id), as_json=as_json)
    elif not as_json:
        hint = f"{plain(job.status().total)} requests; look: batchyard watch {job.id}"
        notes().print(f"{hint}, then batchyard results {job.id} -o FILE")


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise InputError(f"--metadata {text!r} is no pair. Write key=value, e.g. team=nlp")
        pairs[key] = value
    return pairs
