"""Handing in a job with as little as possible.

A process that only submits needs no Celery, no transport, and the price tables only where a
budget asks for a price that the configuration does not give: without them a file of any size
goes in with less than 64 MiB (docs/bench.md). Beat's `unrung` rings for it within a second.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from batchyard.answering import answering
from batchyard.environment import find_yard, how_to_postgres, settings_in_force
from batchyard.files import base_urls
from core.deployment import Deployment
from core.lazy import lazy
from core.settings import Settings
from db.connect import open_pool
from tasks.context import Context

if TYPE_CHECKING:
    from providers import catalog
else:
    catalog = lazy("providers.catalog")

POOL_SIZE = 1


class Unrung:
    """A `core.ports.Publisher` that leaves the ringing to beat."""

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None:
        """Nothing: what is submitted is found within a second."""


class Catalog(Mapping[str, Deployment]):
    """The deployments of a configuration, resolved when somebody looks at one."""

    def __init__(self, settings: Settings, base_urls: Mapping[str, str]) -> None:
        self._settings = settings
        self._base_urls = base_urls
        self._resolved: Mapping[str, Deployment] | None = None

    def __getitem__(self, name: str) -> Deployment:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, Deployment]:
        if self._resolved is None:
            self._resolved = catalog.resolve_deployments(self._settings, self._base_urls)
        return self._resolved


@asynccontextmanager
async def open_producer(environ: Mapping[str, str] = os.environ) -> AsyncIterator[Context]:
    """What a submit uses, for as long as the block lasts.

    Raises ServiceError where no yard runs or Postgres does not answer, then or later, and
    ConfigError.
    """
    place = find_yard(environ, needs=("DATABASE",))
    settings = settings_in_force(place.home, None, environ)
    remedy = how_to_postgres(place.home, environ)
    opened = open_pool(place.database_url, POOL_SIZE, remedy=remedy)
    with answering(place.home, environ):
        async with opened as pool:
            yield Context(settings, Catalog(settings, base_urls(place.home)), pool, Unrung())
