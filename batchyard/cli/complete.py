"""A job's id and its project on the command line, and what a shell offers on TAB for them."""

import os
from typing import Annotated

import typer

from batchyard.cli.database import ask, ask_project
from batchyard.embedded.home import Home
from core.errors import BatchyardError
from core.ids import PROJECT_VARIABLE, project_named
from db.overview import project_names, recent_jobs

Offer = list[str | tuple[str, str]]


def offer_jobs(ctx: typer.Context, incomplete: str) -> Offer:
    """The ids of the project's newest jobs, each with its status and name; nothing where no
    yard runs."""
    project = project_named(ctx.params.get("project"), os.environ)
    try:
        jobs = ask_project(Home.from_env(), project, recent_jobs)
    except BatchyardError:
        return []
    return [
        (f"job_{id_}", f"{status} {name}".strip())
        for id_, status, name in jobs
        if f"job_{id_}".startswith(incomplete)
    ]


def offer_projects(incomplete: str) -> list[str]:
    """The projects that have had a job; nothing where no yard runs."""
    try:
        names = ask(Home.from_env(), project_names)
    except BatchyardError:
        return []
    return [name for name in names if name.startswith(incomplete)]


JobId = Annotated[
    str,
    typer.Argument(help="The job, as 12 or job_12.", metavar="JOB", autocompletion=offer_jobs),
]

ProjectOption = Annotated[
    str,
    typer.Option(
        "-p",
        "--project",
        envvar=PROJECT_VARIABLE,
        show_envvar=True,
        help="Whose job it is.",
        autocompletion=offer_projects,
    ),
]
