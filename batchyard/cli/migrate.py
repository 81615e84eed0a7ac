"""`batchyard migrate`."""

import os
from typing import Annotated

import psycopg
import typer

from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import database_url
from batchyard.cli.show import out
from batchyard.embedded.home import Home
from core.errors import ServiceError
from db.migrate import migrate as bring_to


def migrate(
    *,
    revision: Annotated[
        str, typer.Option(help='A revision, "head", "base", or e.g. "-1" for one step down.')
    ] = "head",
    as_json: JsonFlag = False,
) -> None:
    """Bring the database to a revision of the schema. `up` does it by itself; with your own
    Postgres, run it once before the first worker. Safe to run from several machines at once.

    \b
    Examples:
      batchyard migrate
      BATCHYARD_DATABASE_URL=postgresql://me@db/yard batchyard migrate
      batchyard migrate --revision -1
    """
    url = database_url(Home.from_env(), os.environ)
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        raise ServiceError(
            "Postgres does not answer. Start the yard with `batchyard up -d`, or check "
            f"BATCHYARD_DATABASE_URL ({str(error).strip().splitlines()[-1]})"
        ) from error
    bring_to(url, revision)
    if as_json:
        put_json({"revision": revision})
    else:
        out().print(f"the database is at {revision}")
