"""A fresh yard in a folder of its own, started and stopped as `batchyard up -d` and `down` do."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from batchyard.embedded.detached import stop
from batchyard.embedded.home import Home
from batchyard.files import base_urls
from batchyard.yard import Start, start_yard
from core.deployment import Deployment
from core.settings import Settings
from db.connect import open_pool
from providers.catalog import resolve_deployments
from providers.configuration import load_settings
from tasks.context import Context
from workers.broker import CeleryPublisher, make_app


@dataclass(frozen=True, slots=True)
class BenchYard:
    """A running yard and the configuration it runs."""

    home: Home
    folder: Path
    settings: Settings
    deployments: dict[str, Deployment]
    database_url: str
    broker_url: str


def end_orderly(number: int, _: FrameType | None) -> None:
    """Ends the process so that its yards are stopped: for `signal.signal`."""
    # Another one must not break off the stopping.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


@contextmanager
def fresh_yard(config: dict[str, Any], *, workers: int, flower: bool) -> Iterator[BenchYard]:
    """A yard with this configuration, gone with its folder at the end of the block, be it by
    SIGTERM."""
    signal.signal(signal.SIGTERM, end_orderly)
    with tempfile.TemporaryDirectory(prefix="batchyard-bench-") as name:
        folder = Path(name)
        file = folder / "batchyard.yaml"
        # JSON is YAML.
        file.write_text(json.dumps(config), encoding="utf-8")
        home = Home(folder / "home")
        environ = {k: v for k, v in os.environ.items() if not k.startswith("BATCHYARD_")}
        start = Start(config=file, workers=workers, flower=flower)
        try:
            record = start_yard(home, start, environ=environ)
            settings = load_settings(file, {})
            yield BenchYard(
                home=home,
                folder=folder,
                settings=settings,
                deployments=dict(resolve_deployments(settings, base_urls(home))),
                database_url=record.database_url,
                broker_url=record.broker_url,
            )
        finally:
            # One that was just about to start has no record yet.
            while not stop(home) and home.locked():
                time.sleep(0.05)


@asynccontextmanager
async def open_context(yard: BenchYard) -> AsyncIterator[Context]:
    """What submits to the yard need."""
    publisher = CeleryPublisher(make_app(yard.broker_url, yard.settings.providers))
    async with open_pool(yard.database_url) as pool:
        yield Context(yard.settings, yard.deployments, pool, publisher)
