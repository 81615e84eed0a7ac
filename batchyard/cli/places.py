"""Options that say where things are, and how places are told to people."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from batchyard.embedded.home import Home
from batchyard.environment import outside
from batchyard.files import settings_file
from core.errors import ServiceError

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        envvar="BATCHYARD_CONFIG",
        help="The configuration file.",
        show_envvar=True,
    ),
]

CONFIG_VARIABLE = "BATCHYARD_CONFIG"


def relative(path: Path) -> str:
    """A path as seen from here, where it is below us."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def settings_path(home: Home, config: Path | None) -> Path | None:
    """The configuration to go by: the one named, else the one the running yard was started
    with, else None (where the catalog looks by itself)."""
    if config is not None or os.environ.get(CONFIG_VARIABLE) or home.running() is None:
        return config
    started_with = settings_file(home)
    return started_with if started_with.exists() else None


def database_url(home: Home, environ: Mapping[str, str]) -> str:
    """The yard's Postgres: the one named by the environment, else the embedded one.

    Raises ServiceError when there is neither, ConfigError for an address that is none.
    """
    url, _, _ = outside(environ)
    running = home.running() if not url else None
    found = url or (running.database_url if running is not None else "")
    if not found:
        raise ServiceError(
            f"no yard runs in {relative(home.path)}. Start it with `batchyard up -d`, or set "
            f"BATCHYARD_HOME or BATCHYARD_DATABASE_URL to one that does"
        )
    return found


def limiter_url(home: Home, environ: Mapping[str, str]) -> str | None:
    """The server of the limits: the one named by the environment, else the broker where that
    speaks Redis, else the embedded one; None where there is none."""
    running = home.running()
    named = environ.get("BATCHYARD_LIMITER_URL") or environ.get("BATCHYARD_BROKER_URL")
    url = named or (running.broker_url if running is not None else "")
    return url if url.startswith(("redis://", "rediss://", "unix://")) else None
