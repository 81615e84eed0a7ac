"""`batchyard down`."""

from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import relative
from batchyard.cli.show import out
from batchyard.embedded.detached import stop
from batchyard.embedded.home import Home


def down(*, as_json: JsonFlag = False) -> None:
    """Stop the yard; its data stay in the state folder, and unfinished jobs go on with the
    next `up`. Without a running yard there is nothing to do, which is no error.

    \b
    Examples:
      batchyard down
      BATCHYARD_HOME=/srv/yard batchyard down --json
    """
    home = Home.from_env()
    stopped = stop(home)
    if as_json:
        put_json({"stopped": stopped})
    elif stopped:
        out().print("stopped; the data stay in", relative(home.path))
    else:
        out().print("no yard runs in", relative(home.path))
