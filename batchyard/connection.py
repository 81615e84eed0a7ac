"""From the environment to a yard in use: its configuration, database and broker."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from batchyard.environment import find_yard, how_to_postgres, settings_in_force
from batchyard.files import base_urls
from db.connect import open_pool
from providers.catalog import resolve_deployments
from tasks.context import Context
from workers.broker import CeleryPublisher, make_app
from workers.logs import spare_stdout

POOL_SIZE = 4


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
    deployments = resolve_deployments(settings, base_urls(place.home))
    remedy = how_to_postgres(place.home, environ)
    app = make_app(place.broker_url, settings.providers)
    async with open_pool(place.database_url, POOL_SIZE, remedy=remedy) as pool:
        try:
            yield Context(settings, deployments, pool, CeleryPublisher(app))
        finally:
            app.close()
