"""`python -m batchyard.embedded HOME`: the embedded Postgres and Valkey alone, until Ctrl-C."""

import argparse
import logging
import os
import signal
import sys

from batchyard.embedded import processes
from batchyard.embedded.errors import EmbeddedError
from batchyard.embedded.home import Home
from batchyard.embedded.postgres import EmbeddedPostgres
from batchyard.embedded.supervisor import Addresses, Supervisor
from batchyard.embedded.valkey import EmbeddedValkey


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m batchyard.embedded", description=__doc__)
    parser.add_argument("home", help="the state folder")
    parser.add_argument(
        "--no-fsync", action="store_true", help="faster, but a power cut may lose data (tests)"
    )
    parser.add_argument(
        "--with-parent", type=int, metavar="PID", help="end when this parent process ends (Linux)"
    )
    return parser.parse_args()


def main() -> str | None:
    """Run until a signal; returns what kept the services from starting, else None."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.with_parent is not None:
        processes.set_death_signal(signal.SIGTERM)
        if os.getppid() != arguments.with_parent:
            return "error: the parent process has already ended"
    home = Home(arguments.home)
    try:
        with home.lock():
            postgres = EmbeddedPostgres(home, fsync=not arguments.no_fsync)
            valkey = EmbeddedValkey(home, fsync=not arguments.no_fsync)
            Supervisor(
                home,
                [postgres.service(), valkey.service()],
                addresses=Addresses(database_url=postgres.url, broker_url=valkey.url),
            ).run()
    except EmbeddedError as error:
        return f"error: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
