"""`batchyard up`."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from batchyard.checks import check_keys, require_outside
from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import ConfigOption, relative
from batchyard.cli.show import notes, out, warn_of
from batchyard.embedded.errors import HomeLockedError
from batchyard.embedded.home import Home, ServiceRecord, State, YardRecord
from batchyard.services import check_profiles
from batchyard.yard import Start, run_yard, start_yard
from core.settings import Settings
from providers.configuration import CONFIG_FILE, load_settings

SETTLED = (State.READY, State.DONE)


def up(
    *,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Leave it running.")] = False,
    config: ConfigOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Processes that make calls (default: yard.workers, else 1)."
        ),
    ] = None,
    flower: Annotated[bool, typer.Option(help="Run Flower too.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Start the yard: Postgres, broker, workers and Flower, under one small supervisor.

    In the foreground it runs until Ctrl-C; with -d it is left running until `batchyard down`.
    Where a yard runs already, this says so and is content. A key that is not to be found is
    only a warning; a server of your own that does not answer ends it with exit code 3.

    \b
    Examples:
      batchyard up -d
      batchyard up --config lab.yaml --workers 2
      BATCHYARD_DATABASE_URL=postgresql://me@db/yard batchyard up --no-flower
    """
    start = Start(config, workers, flower)
    settings = load_settings(config, os.environ)
    check_profiles(settings)
    home = Home.from_env()
    ticks = Ticks(home, notes() if as_json else out())
    running = home.running()
    if running is not None:
        ticks.say_running(running)
    else:
        require_outside(os.environ)
        ticks.console.print(f"configuration: {_source(start, settings)}")
        _warn_of_keys(settings)
    if running is None and not detach:
        _run_here(settings, start, ticks, as_json=as_json)
        return
    record = start_yard(home, start, while_waiting=ticks.show)
    if running is None:
        ticks.say_ready(record)
    if as_json:
        put_json(_told(home, record))


def _run_here(settings: Settings, start: Start, ticks: "Ticks", *, as_json: bool) -> None:
    def ready(record: YardRecord) -> None:
        ticks.say_ready(record)
        ticks.console.print("  Ctrl-C stops it.")
        if as_json:
            put_json(_told(ticks.home, record))
            sys.stdout.flush()

    try:
        with ticks.watching():
            run_yard(ticks.home, settings, start, on_ready=ready)
    except HomeLockedError:
        # The other of two at once was faster.
        running = ticks.home.running()
        if running is None:
            raise
        ticks.say_running(running)
        return
    ticks.console.print("stopped; the data stay in", relative(ticks.home.path))


def _warn_of_keys(settings: Settings) -> None:
    """The yard comes up without a key, but what needs it will wait."""
    for one in check_keys(settings):
        if not one.ok:
            warn_of(f"{one.name}: {one.fix}")


def _source(start: Start, settings: Settings) -> str:
    """Where the configuration comes from."""
    found = start.config or Path(CONFIG_FILE)
    if found.is_file():
        return relative(found.resolve())
    providers = settings.providers.items()
    named = [f"{name} ({', '.join(one.references)})" for name, one in providers if one.references]
    if named:
        return f"no file; keys in the environment for {', '.join(named)}"
    return "no file and no key; simulated providers and the local model"


def _told(home: Home, record: YardRecord) -> dict[str, Any]:
    """What scripts are told: places, no passwords."""
    return {
        "state": record.state,
        "home": str(home.path),
        "supervisor_pid": record.supervisor_pid,
        "flower_url": record.flower_url,
        "services": [
            {"name": one.name, "state": one.state, "pid": one.pid, "port": one.port}
            for one in record.services
        ],
    }


@dataclass
class Ticks:
    """A calm list of what has come up, each service once."""

    home: Home
    console: Console
    began: float = field(default_factory=time.monotonic)
    seen: set[str] = field(default_factory=set)

    def show(self, record: YardRecord | None) -> None:
        """Adds what has come up since."""
        for service in record.services if record is not None else ():
            if service.state in SETTLED and service.name not in self.seen:
                self.seen.add(service.name)
                self._tick(service)

    def _tick(self, service: ServiceRecord) -> None:
        where = f"127.0.0.1:{service.port}" if service.port else ""
        after = time.monotonic() - self.began
        told = f"{after:5.1f} s  {where}"
        self.console.print(
            Text.assemble("  ", ("✓", "green"), f" {service.name:<16}", (told, "dim"))
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Shows what comes up while the block runs the supervisor in this thread."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.1) and not self._ready():
                self.show(self.home.running())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _ready(self) -> bool:
        record = self.home.running()
        return record is not None and record.state is not State.STARTING

    def say_ready(self, record: YardRecord) -> None:
        """That it is up, and where to look."""
        self.show(record)
        self.console.print(f"the yard is ready after {time.monotonic() - self.began:.1f} s")
        self._say_where(record)

    def say_running(self, record: YardRecord) -> None:
        """That there is one already."""
        state = "is starting" if record.state is State.STARTING else "already runs"
        self.console.print(f"a yard {state} here (pid {record.supervisor_pid})")
        self._say_where(record)

    def _say_where(self, record: YardRecord) -> None:
        if record.flower_url:
            self.console.print(f"  Flower  {record.flower_url}  (password: batchyard flower)")
        self.console.print(f"  State   {relative(self.home.path)}")
        self.console.print("  Next    batchyard submit FILE --watch, batchyard ps, batchyard down")
