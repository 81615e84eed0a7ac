"""From the environment to a yard in use: its configuration, database and broker.

Celery and the price tables take half a second to import, and most calls need neither: they are
loaded when somebody rings, or looks at a price.
"""

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from batchyard.answering import answering
from batchyard.environment import find_yard, how_to_postgres, settings_in_force
from batchyard.files import base_urls
from batchyard.producer import Catalog
from core.lazy import lazy
from db.connect import open_pool
from tasks.context import Context
from workers.logs import spare_stdout

if TYPE_CHECKING:
    from workers import broker
else:
    broker = lazy("workers.broker")

POOL_SIZE = 4


class Bell:
    """A `core.ports.Publisher` that goes to the broker when it is first rung."""

    def __init__(self, broker_url: str, providers: Iterable[str]) -> None:
        self._where = broker_url, providers
        self._rung: broker.CeleryPublisher | None = None

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None:
        """Sends the step's task. When the broker is away the sweep rings again later."""
        if self._rung is None:
            self._rung = broker.CeleryPublisher(broker.make_app(*self._where))
        await self._rung.publish(step, *args, queue=queue)

    def close(self) -> None:
        """Ends its connections to the broker; harmless where there are none."""
        if self._rung is not None:
            self._rung.close()


@asynccontextmanager
async def open_context(
    config: Path | None = None, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Context]:
    """What the steps of a producer use, for as long as the block lasts.

    Raises ServiceError where no yard runs or Postgres does not answer, and ConfigError.
    """
    spare_stdout()
    place = find_yard(environ)
    settings = settings_in_force(place.home, config, environ)
    remedy = how_to_postgres(place.home, environ)
    bell = Bell(place.broker_url, settings.providers)
    opened = open_pool(place.database_url, POOL_SIZE, remedy=remedy)
    with answering(place.home, environ), closing(bell):
        async with opened as pool:
            yield Context(settings, Catalog(settings, base_urls(place.home)), pool, bell)
