"""Where the yard is that this process means, and its configuration.

Outside services are named by BATCHYARD_DATABASE_URL and BATCHYARD_BROKER_URL; without them it is
the yard that runs in BATCHYARD_HOME (`.batchyard` in the working directory).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchyard.embedded.home import Home
from batchyard.files import settings_file
from core.errors import ServiceError
from core.settings import Settings
from providers.configuration import CONFIG_VARIABLE, load_settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where a yard is. The URLs hold passwords."""

    home: Home
    database_url: str
    broker_url: str


def find_yard(environ: Mapping[str, str] = os.environ) -> Place:
    """The yard that the environment names, else the one running in its home.

    Raises ServiceError when there is neither.
    """
    home = Home.from_env(environ)
    database_url = environ.get("BATCHYARD_DATABASE_URL", "")
    broker_url = environ.get("BATCHYARD_BROKER_URL", "")
    if not (database_url and broker_url) and (record := home.running()) is not None:
        database_url = database_url or record.database_url
        broker_url = broker_url or record.broker_url
    for name, url in (("DATABASE", database_url), ("BROKER", broker_url)):
        if not url:
            raise ServiceError(
                "No yard runs here. Start it with `batchyard up -d`, or set BATCHYARD_HOME, "
                f"or BATCHYARD_{name}_URL, to one that does"
            )
    return Place(home, database_url, broker_url)


def settings_in_force(
    home: Home, config: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The configuration: of the file named, else of the running yard, else what the environment
    and the working directory give. Raises ConfigError."""
    named = config is not None or environ.get(CONFIG_VARIABLE)
    if not named and home.running() is not None and settings_file(home).exists():
        config = settings_file(home)
    return load_settings(config, environ)
