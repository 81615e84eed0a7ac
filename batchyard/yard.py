"""Starting a yard, in this process or in one of its own."""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from psycopg import AsyncConnection, OperationalError

from batchyard.embedded.detached import spawn, wait_ready
from batchyard.embedded.errors import HomeLockedError, ServiceStartError
from batchyard.embedded.home import SUPERVISOR, Home, State, YardRecord
from batchyard.embedded.space import require_space
from batchyard.embedded.supervisor import Addresses, Supervisor
from batchyard.services import compose, import_path
from batchyard.watching import put_targets, serve_supervisor
from core.settings import Settings
from db.processes import expire
from providers.secrets import key_names
from workers.logs import log_into

_log = logging.getLogger(__name__)

LOG = "supervisor"
START_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Start:
    """How to start: `config` is the file (None: the catalog's own), `workers` None the file's."""

    config: Path | None = None
    workers: int | None = None
    flower: bool = True

    @property
    def folder(self) -> Path:
        """Where relative paths of the configuration start."""
        return self.config.resolve().parent if self.config else Path.cwd()

    def argv(self) -> list[str]:
        """The command line that does the same in the foreground of another process."""
        argv = [sys.executable, "-m", "batchyard", "up"]
        argv += ["--config", str(self.config.resolve())] if self.config else []
        argv += ["--workers", str(self.workers)] if self.workers else []
        return argv + ([] if self.flower else ["--no-flower"])


def run_yard(
    home: Home,
    settings: Settings,
    start: Start,
    *,
    environ: Mapping[str, str] = os.environ,
    on_ready: Callable[[YardRecord], None] | None = None,
) -> None:
    """Runs the yard in this process until SIGINT, SIGTERM or SIGHUP; call it in the main thread.

    Raises HomeLockedError when one runs already, DiskFullError, and what keeps a service from
    starting (EmbeddedError, ConfigError) after stopping the others.
    """
    require_space(home.path)
    keys = key_names(settings)
    with home.lock(), log_into(home.log(LOG), environ=environ, secrets=keys):
        layout = compose(
            home,
            settings,
            environ=environ,
            folder=start.folder,
            workers=start.workers,
            flower=start.flower,
        )
        host, port = settings.yard.metrics.host, home.port(f"metrics.{SUPERVISOR}")
        put_targets(home, host, layout.services, port)
        serve_supervisor(home, host, port)
        Supervisor(
            home,
            layout.services,
            addresses=Addresses(
                database_url=layout.database_url if layout.owns("postgres") else "",
                broker_url=layout.broker_url if layout.owns("valkey") else "",
                flower_url=layout.flower_url,
                supervisor_metrics=port,
            ),
            on_child_death=partial(_release, layout.database_url),
            on_ready=on_ready,
        ).run()


def _release(database_url: str, name: str, pid: int) -> None:
    """Ends a dead worker's lease at once, so that its work need not wait for the lease's end."""
    if not name.startswith("worker-"):
        return
    try:
        asyncio.run(_expire(database_url, pid))
    except OperationalError as error:
        _log.warning("the lease of %s runs on until its end: %s", name, error)


async def _expire(database_url: str, pid: int) -> None:
    connection = await AsyncConnection.connect(database_url, autocommit=True, connect_timeout=2)
    async with connection:
        await expire(connection, host=socket.gethostname(), pid=pid)


def start_yard(
    home: Home,
    start: Start,
    *,
    environ: Mapping[str, str] = os.environ,
    while_waiting: Callable[[YardRecord | None], None] | None = None,
) -> YardRecord:
    """A ready yard in the background: the one that runs here already, or a new one.

    `while_waiting` is called with the record so far every tenth of a second. Safe from two
    processes at once. Raises EmbeddedError when it doesn't come up.
    """
    if not home.locked():
        require_space(home.path)
    ours = {"BATCHYARD_HOME": str(home.path), "PYTHONPATH": import_path(environ)}
    try:
        process = spawn(start.argv(), home, env={**environ, **ours})
        return wait_ready(process, home, timeout_s=START_TIMEOUT_S, while_waiting=while_waiting)
    except HomeLockedError:
        return _wait_for_other(home, while_waiting)
    except ServiceStartError:
        # The other of two at once was faster, and ours made way for it.
        if not home.locked():
            raise
        return _wait_for_other(home, while_waiting)


def _wait_for_other(
    home: Home, while_waiting: Callable[[YardRecord | None], None] | None
) -> YardRecord:
    deadline = time.monotonic() + START_TIMEOUT_S
    while home.locked() and time.monotonic() < deadline:
        record = home.record()
        if record is not None and record.state is State.READY:
            return record
        if while_waiting is not None:
            while_waiting(record)
        time.sleep(0.1)
    raise ServiceStartError(
        f"the yard that was starting in {home.path} didn't get ready: see {home.log(LOG)}, "
        f"then try `batchyard up` again"
    )
