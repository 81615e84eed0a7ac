"""Brings a database to a revision of the schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, pool, text
from sqlalchemy.exc import OperationalError

from core.errors import InputError, ServiceError

SCRIPTS = Path(__file__).parent / "migrations"
LOCK_TIMEOUT_MS = 10_000
MIGRATION_LOCK = 0x6261746368  # any constant: two migrations at once wait for each other


def sqlalchemy_url(database_url: str) -> str:
    """The psycopg 3 form of a plain `postgresql://` URL."""
    for scheme in ("postgresql://", "postgres://"):
        if database_url.startswith(scheme):
            return "postgresql+psycopg://" + database_url.removeprefix(scheme)
    raise ServiceError(
        f"BATCHYARD_DATABASE_URL must start with postgresql://, "
        f"not {database_url.partition(':')[0]!r}:"
    )


def _config() -> Config:
    config = Config()
    # Alembic reads options as ConfigParser does, where a percent sign begins a reference.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def migrate(database_url: str, revision: str = "head") -> None:
    """Upgrades to `revision`, or downgrades when it begins with "-" or is "base".

    Safe to run from several machines at once: the second waits and finds nothing to do.
    Raises InputError for a revision that there is not, ServiceError when Postgres does not
    answer.
    """
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
        if revision == "base" or revision.startswith("-"):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        connection.commit()
