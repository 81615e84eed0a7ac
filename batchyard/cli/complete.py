"""What a shell offers on TAB for a job's id."""

from typing import Annotated

import typer

from batchyard.cli.database import ask
from batchyard.embedded.home import Home
from core.errors import BatchyardError
from db.overview import recent_jobs

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


JobId = Annotated[
    str,
    typer.Argument(help="The job, as 12 or job_12.", metavar="JOB", autocompletion=offer_jobs),
]
