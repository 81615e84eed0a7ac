"""Where the yard is that this process means, and its configuration.

Outside services are named by BATCHYARD_DATABASE_URL and BATCHYARD_BROKER_URL; without them it is
the yard that runs in BATCHYARD_HOME (`.batchyard` in the working directory).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchyard.embedded.home import Home, State
from batchyard.embedded.space import shortage
from batchyard.files import settings_file
from core.errors import ServiceError
from core.settings import Settings
from db.address import postgres_url
from providers.configuration import CONFIG_VARIABLE, load_settings
from workers.address import broker_address, limiter_address


@dataclass(frozen=True, slots=True)
class Place:
    """Where a yard is. The URLs hold passwords."""

    home: Home
    database_url: str
    broker_url: str


def outside(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """The URLs of outside services: Postgres, broker, limiter; empty where none is named.
    Raises ConfigError for one that cannot be used."""
    named = [environ.get(f"BATCHYARD_{name}_URL", "") for name in ("DATABASE", "BROKER", "LIMITER")]
    checks = (postgres_url, broker_address, limiter_address)
    database, broker, limiter = (
        check(url) if url else "" for check, url in zip(checks, named, strict=True)
    )
    return database, broker, limiter


def find_yard(
    environ: Mapping[str, str] = os.environ, *, needs: tuple[str, ...] = ("DATABASE", "BROKER")
) -> Place:
    """The yard that the environment names, else the one running in its home.

    Raises ServiceError when there is neither for what is needed, ConfigError for an address
    that is none.
    """
    home = Home.from_env(environ)
    database_url, broker_url, _ = outside(environ)
    if not (database_url and broker_url) and (record := home.running()) is not None:
        database_url = database_url or record.database_url
        broker_url = broker_url or record.broker_url
    for name, url in (("DATABASE", database_url), ("BROKER", broker_url)):
        if not url and name in needs:
            raise ServiceError(
                "No yard runs here. Start it with `batchyard up -d`, or set BATCHYARD_HOME, "
                f"or BATCHYARD_{name}_URL, to one that does"
            )
    return Place(home, database_url, broker_url)


def how_to_postgres(home: Home, environ: Mapping[str, str] = os.environ) -> str:
    """What to do when Postgres does not answer. That of a running yard is being started again
    by its supervisor."""
    named = environ.get("BATCHYARD_DATABASE_URL")
    running = None if named else home.running()
    if running is not None and (lacking := shortage(home.path)):
        return f"{lacking[0].upper()}{lacking[1:]}, and the yard goes on by itself"
    if running is not None and running.state in (State.STARTING, State.READY):
        return "The yard is starting it again: try once more in a few seconds"
    if named:
        return "Is the server up? Check BATCHYARD_DATABASE_URL"
    return "Start the yard with `batchyard up -d`, or set BATCHYARD_DATABASE_URL"


def settings_in_force(
    home: Home, config: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The configuration: of the file named, else of the running yard, else what the environment
    and the working directory give. Raises ConfigError."""
    named = config is not None or environ.get(CONFIG_VARIABLE)
    if not named and home.running() is not None and settings_file(home).exists():
        config = settings_file(home)
    return load_settings(config, environ)
