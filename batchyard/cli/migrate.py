"""`batchyard migrate`."""

import os
from typing import Annotated

import psycopg
import typer

from batchyard.cli.confirm import confirm
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import database_url
from batchyard.cli.show import count, out
from batchyard.embedded.home import Home
from batchyard.environment import how_to_postgres
from core.errors import ServiceError
from db.migrate import goes_down, stake
from db.migrate import migrate as bring_to


def migrate(
    *,
    revision: Annotated[
        str, typer.Option(help='A revision, "head", "base", or e.g. "-1" for one step down.')
    ] = "head",
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask before a step down.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring the database to a revision of the schema. `up` does it by itself; with your own
    Postgres, run it once before the first worker. Safe to run from several machines at once.

    A step down takes data away, so it says how much, asks, and is refused while workers run.

    \b
    Examples:
      batchyard migrate
      BATCHYARD_DATABASE_URL=postgresql://me@db/yard batchyard migrate
      batchyard migrate --revision -1 --yes
    """
    home = Home.from_env()
    url = database_url(home, os.environ)
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        why = str(error).strip().splitlines()[0]
        raise ServiceError(f"Postgres does not answer ({why}). {how_to_postgres(home)}") from error
    if goes_down(revision) and not yes:
        lost = stake(url)
        what = f"{count(lost.jobs, 'job')} with {count(lost.results, 'result')}"
        confirm(f"Down to {revision}? This may remove {what}, for good.", as_json=as_json)
    bring_to(url, revision)
    if as_json:
        put_json({"revision": revision})
    else:
        out().print(f"the database is at {revision}")
