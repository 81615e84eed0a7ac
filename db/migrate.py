"""Brings a database to a revision of the schema."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, pool, text
from sqlalchemy.exc import OperationalError

from core.errors import ConflictError, InputError, ServiceError
from db.address import SCHEME, postgres_url
from db.connect import statements

SQL = statements("migrate")
SCRIPTS = Path(__file__).parent / "migrations"
LOCK_TIMEOUT_MS = 10_000
MIGRATION_LOCK = 0x6261746368  # any constant: two migrations at once wait for each other


def sqlalchemy_url(database_url: str) -> str:
    """The address as SQLAlchemy takes it for psycopg 3. Raises ConfigError."""
    return "postgresql+psycopg://" + postgres_url(database_url).removeprefix(SCHEME)


def _config() -> Config:
    config = Config()
    # Alembic reads options as ConfigParser does, where a percent sign begins a reference.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


@dataclass(frozen=True, slots=True)
class Stake:
    """What a step down may take away, and who works on it."""

    jobs: int
    results: int
    workers: int


def goes_down(revision: str) -> bool:
    """Whether this is a step down, which takes data away."""
    return revision == "base" or revision.startswith("-")


def stake(database_url: str) -> Stake:
    """What is there now; nothing in a database that has not been migrated."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        there = conn.execute(SQL["there"]).fetchone()
        found = conn.execute(SQL["stake"]).fetchone() if there and there[0] else None
    return Stake(*found) if found else Stake(0, 0, 0)


def migrate(database_url: str, revision: str = "head") -> None:
    """Upgrades to `revision`, or downgrades when it begins with "-" or is "base".

    Safe to run from several machines at once: the second waits and finds nothing to do.
    Raises InputError for a revision that there is not, ConflictError for a step down while
    workers run, ServiceError when Postgres does not answer, ConfigError for another database.
    """
    if goes_down(revision) and (workers := stake(database_url).workers):
        raise ConflictError(
            f"{workers} worker{'s hold' if workers > 1 else ' holds'} a lease on this database. "
            "Stop the yard with `batchyard down`, or your own workers, before a step down"
        )
    engine = create_engine(sqlalchemy_url(database_url), poolclass=pool.NullPool)
    try:
        _run(engine, revision)
    except CommandError as error:
        raise InputError(
            f"there is no revision {revision!r}. Use head, base, -1 or 0001"
        ) from error
    except OperationalError as error:
        raise ServiceError(
            "Postgres does not answer or is locked. Check BATCHYARD_DATABASE_URL, and that no "
            "other migration runs"
        ) from error


def _run(engine: Engine, revision: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(f"set lock_timeout = {LOCK_TIMEOUT_MS}"))
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        if goes_down(revision):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        connection.commit()
