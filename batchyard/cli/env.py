"""`batchyard env`."""

import shlex

from batchyard.cli.output import JsonFlag, put_json, put_line
from batchyard.cli.places import relative
from batchyard.embedded.home import Home
from batchyard.files import environment
from core.errors import ServiceError


def env(*, as_json: JsonFlag = False) -> None:
    """Print what a process of your own needs in its environment to belong to the running yard,
    as lines for a shell. They hold the passwords of its Postgres and its broker, so keep them
    out of logs; provider keys are not among them, and a worker that calls needs those, too.

    \b
    Examples:
      eval "$(batchyard env)"
      celery -A workers.app worker -P threads -c 32 -Q provider.lab -n mine@%h
      psql "$BATCHYARD_DATABASE_URL"
      batchyard env --json
    """
    home = Home.from_env()
    if home.running() is None:
        raise ServiceError(f"no yard runs in {relative(home.path)}. Start it: `batchyard up -d`")
    found = environment(home)
    if as_json:
        put_json(found)
        return
    for name, value in found.items():
        put_line(f"export {name}={shlex.quote(value)}")
