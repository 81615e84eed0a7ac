"""Real services for tests, ended with the test process whatever happens to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from batchyard.embedded.detached import spawn, wait_ready
from batchyard.embedded.home import Home


class RunningServices(NamedTuple):
    """Where the services are; `supervisor_pid` restarts what a test kills."""

    database_url: str
    broker_url: str
    supervisor_pid: int
    home: Home


@contextmanager
def start_services(
    home_path: str | os.PathLike[str], fsync: bool = False
) -> Iterator[RunningServices]:
    """Postgres and Valkey in a folder, under a real supervisor in a process of its own.

    Call it from the main thread. Raises ServiceStartError when they don't come up.
    """
    home = Home(home_path)
    argv = [sys.executable, "-m", "batchyard.embedded", str(home.path)]
    argv += ["--with-parent", str(os.getpid())]
    argv += [] if fsync else ["--no-fsync"]
    # Importable whatever the working directory of the tests is.
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    process = spawn(argv, home, env=os.environ | {"PYTHONPATH": path})
    try:
        record = wait_ready(process, home, timeout_s=120.0)
        yield RunningServices(record.database_url, record.broker_url, process.pid, home)
    finally:
        process.terminate()
        try:
            process.wait(60.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
