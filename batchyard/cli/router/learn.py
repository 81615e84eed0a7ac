"""`batchyard router learn`, which is `batchyard router train --from results`."""

import os
from datetime import timedelta
from typing import Annotated, Any

import typer

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.output import JsonFlag, put_json, put_line, put_note
from batchyard.embedded.home import Home
from batchyard.environment import settings_in_force
from batchyard.files import base_urls
from core.deadline import parse_deadline
from core.errors import InputError
from core.ids import DEFAULT_PROJECT, job_name, job_number
from core.money import Price
from core.settings import configured_name
from db.connect import Connection
from db.lessons import read_lessons
from db.router_models import promote, promoted, put_model
from providers.catalog import resolve_deployments
from routing.models.choice import ChoiceModel
from routing.models.file import dump
from tasks.encoders.find import load_ready
from tasks.router.lessons import labelled, teach

SinceOption = Annotated[
    str | None, typer.Option(metavar="SPAN", help="Jobs submitted since then: 30d, 12h.")
]


def learn(
    *,
    name: Annotated[str, typer.Option("-n", "--name", help="What routes call the model.")],
    job: Annotated[
        list[str] | None, typer.Option("-j", "--job", metavar="JOB", help="Only of this one.")
    ] = None,
    since: SinceOption = None,
    scorer: Annotated[str | None, typer.Option(metavar="NAME", help="Whose scores.")] = None,
    metadata: Annotated[
        str, typer.Option("-m", "--metadata", metavar="COL,…", help="Columns that it reads.")
    ] = "",
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Train a router on the scored answers of the project's jobs, and keep it as the next
    version. Routes go by it at once if it foresees scores better than the version in use, by
    cross-validation on the same answers; `router promote` decides otherwise.

    \b
    Examples:
      batchyard router train --from results --name tickets
      batchyard router train --from results --name tickets --since 30d --metadata topic
      batchyard router learn --name tickets --job 12 --job 13 --json
    """
    jobs = [job_number(one) for one in job] if job else None
    span = _span(since)
    home = Home.from_env()
    prices = _prices(home)
    columns = [one.strip() for one in metadata.split(",") if one.strip()] or None

    async def learned(conn: Connection, project_id: int) -> dict[str, Any]:
        found = await read_lessons(
            conn, project_id, jobs=jobs, since=span, scorer=scorer, replies=True
        )
        stored = await promoted(conn, project_id, name)
        known = load_ready(stored.body) if stored else None
        taught = teach(
            labelled(found.rows), known if isinstance(known, ChoiceModel) else None, prices, columns
        )
        info = {**taught.model.info, "jobs": [job_name(one) for one in found.jobs]}
        version = await put_model(conn, project_id, name, "choice", dump(taught.model), info)
        if taught.better:
            await promote(conn, project_id, name, version)
        told = {"name": name, "version": version, "promoted": taught.better, "why": taught.why}
        return told | {"in_use": stored.version if stored else None, "info": info}

    _say(ask_project(home, project, learned), as_json=as_json)


def _say(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        put_json(told)
        return
    put_line(f"{told['name']} version {told['version']}: {told['why']}")
    if told["promoted"]:
        put_note("routes go by it now")
    else:
        by_hand = f"batchyard router promote {told['name']} {told['version']}"
        put_note(f"version {told['in_use']} is better and stays in use; by hand: {by_hand}")


def _span(since: str | None) -> timedelta | None:
    if since is None:
        return None
    span = parse_deadline(since)
    if not isinstance(span, timedelta):
        raise InputError(f"--since {since!r} is no span. Write how long ago, as 30d or 12h")
    return span


def _prices(home: Home) -> dict[str, Price | None]:
    """What deployments cost today, by their names in the configuration."""
    found = resolve_deployments(settings_in_force(home, None, os.environ), base_urls(home))
    return {configured_name(line): one.price for line, one in found.items()}
