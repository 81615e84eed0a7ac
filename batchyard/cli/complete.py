"""What a shell offers on TAB: ids of jobs, names of routes and deployments."""

import os
from typing import Annotated

import typer

from batchyard.cli.database import ask
from batchyard.cli.places import settings_path
from batchyard.embedded.home import Home
from core.errors import BatchyardError
from db.overview import recent_jobs
from providers.catalog import load_settings

Offer = list[str | tuple[str, str]]


def offer_jobs(incomplete: str) -> Offer:
    """The newest jobs' ids, each with its status and name; nothing where no yard runs."""
    try:
        jobs = ask(Home.from_env(), recent_jobs)
    except BatchyardError:
        return []
    return [
        (f"job_{id_}", f"{status} {name}".strip())
        for id_, status, name in jobs
        if f"job_{id_}".startswith(incomplete)
    ]


def offer_targets(incomplete: str) -> Offer:
    """Names that `--route` takes: routes first, then deployments."""
    try:
        settings = load_settings(settings_path(Home.from_env(), None), os.environ)
    except BatchyardError:
        return []
    routes = [(name, "route") for name in settings.routes]
    deployments = [(name, one.model) for name, one in settings.deployments.items()]
    return [pair for pair in (*routes, *deployments) if pair[0].startswith(incomplete)]


JobId = Annotated[
    str,
    typer.Argument(help="The job, as 12 or job_12.", metavar="JOB", autocompletion=offer_jobs),
]
